package backup_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestEnvelopes runs a daemon with the rights of its group: it keeps envelopes, publishes marks that routers can read,
// writes on the Cell how its backup stands, and tells in an Event of an envelope that somebody deleted.
func TestEnvelopes(t *testing.T) {
	configs := sandboxtest.ControlPlanes(t, 3)
	founders := []federation.NewCell{
		{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, configs[1])}, {Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, configs[2])},
	}
	if _, err := federation.Init(t.Context(), configs[0], federation.InitOptions{Founders: founders}); err != nil {
		t.Fatal(err)
	}
	rcp := kube(t, configs[0])
	cells := map[string]kubernetes.Interface{"cell-1": kube(t, configs[1]), "cell-2": kube(t, configs[2])}
	d := start(t, configs[0], "one")
	awaitHolder(t, configs[0], "one")
	clients := cellClient(t, configs[0])
	ring, err := clients.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	place, _ := snapshot.Table.Lookup(placement.NamespacedName, "default", "kept")
	object, err := cells[place.Old()].CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secrets := cells[place.OldBackup()].CoreV1().Secrets(v1alpha1.Namespace)
	name := envelope.Name("", "configmaps", "default", "kept")
	awaitEnvelope := func() {
		t.Helper()
		await(t, "the envelope", func(ctx context.Context) (bool, error) {
			secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			opened, openErr := envelope.Open(secret)
			return openErr == nil && opened.Describes(object.UID, object.ResourceVersion), err
		})
	}
	awaitEnvelope()
	version, err := strconv.ParseInt(object.ResourceVersion, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the mark", func(ctx context.Context) (bool, error) {
		published, err := rcp.CoreV1().ConfigMaps(v1alpha1.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks,
		})
		if err != nil {
			return false, err
		}
		for i := range published.Items {
			mark, err := ledger.ParseMark([]byte(published.Items[i].Data[v1alpha1.MarksKey]))
			if err != nil {
				return false, err
			}
			said, _, err := backup.ReadMarks(&published.Items[i])
			if err != nil {
				return false, err
			}
			if mark.Cell == place.Old() && mark.ControlPlane == snapshot.ControlPlanes[mark.Cell] && said.Epoch == ring.Status.Epoch &&
				mark.Resources[schema.GroupResource{Resource: "configmaps"}] >= version {
				return true, nil
			}
		}
		return false, nil
	})
	if err := secrets.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitEnvelope()
	await(t, "the event", func(ctx context.Context) (bool, error) {
		events, err := rcp.CoreV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, e := range events.Items {
			if e.Reason == "EnvelopeDeleted" && e.InvolvedObject.Name == place.OldBackup() && strings.Contains(e.Message, "configmaps default/kept") {
				return true, nil
			}
		}
		return false, nil
	})
	await(t, "the status", func(ctx context.Context) (bool, error) {
		cell, err := clients.Cells().Get(ctx, place.Old(), metav1.GetOptions{})
		if err != nil || cell.Status.Backup == nil {
			return false, err
		}
		s := cell.Status
		return s.Backup.Complete && s.Backup.Objects == 1 && s.Backup.Pending == 0 && s.Counts.Workloads == 1 && s.BackupLag.Duration == 0 &&
			len(s.Backup.Cells) == 1 && s.Backup.Cells[0].Envelopes == 1 && s.Backup.Cells[0].LagP99 != nil, nil
	})
	if got := metrics(t, d); !strings.Contains(got, `kubecell_backup_envelopes_written_total{backup="`+place.OldBackup()+`"`) {
		t.Errorf("the metrics do not count envelopes:\n%s", got)
	}
	name = named(t, snapshot, place.Old(), "refused")
	admitsNoSecret(t, cells[place.OldBackup()])
	if _, err := cells[place.Old()].CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := awaitRefused(t, rcp, place.Old(), name, time.Time{})
	d.stop()
	stopped := time.Now()
	start(t, configs[0], "another")
	if after := awaitRefused(t, rcp, place.Old(), name, stopped); after != before {
		t.Errorf("another daemon says %+v; want %+v, as before", after, before)
	}
}

// named is a name that a cell owns.
func named(t *testing.T, snapshot *routing.Snapshot, cell, prefix string) string {
	t.Helper()
	for i := range 1000 {
		name := prefix + "-" + strconv.Itoa(i)
		if place, ok := snapshot.Table.Lookup(placement.NamespacedName, "default", name); ok && place.Old() == cell {
			return name
		}
	}
	t.Fatalf("cell %s owns no name", cell)
	return ""
}

// admitsNoSecret has a quota in force in a cell.
func admitsNoSecret(t *testing.T, cell kubernetes.Interface) {
	t.Helper()
	_, err := cell.CoreV1().ResourceQuotas("default").Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the quota to be in force", func(ctx context.Context) (bool, error) {
		_, err := cell.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "try"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err), nil
	})
}

// awaitRefused waits until the marks of a cell, as they were written after a time, name an object as refused.
func awaitRefused(t *testing.T, rcp kubernetes.Interface, cell, name string, after time.Time) mirror.Unprotected {
	t.Helper()
	var out mirror.Unprotected
	await(t, name+" to be named", func(ctx context.Context) (bool, error) {
		published, err := rcp.CoreV1().ConfigMaps(v1alpha1.Namespace).Get(ctx, v1alpha1.MarksPrefix+cell, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		said, unprotected, err := backup.ReadMarks(published)
		if err != nil || !said.Time.After(after) {
			return false, err
		}
		i := slices.IndexFunc(unprotected, func(u mirror.Unprotected) bool { return u.Name == name && u.Reason == mirror.Refused })
		if i >= 0 {
			out = unprotected[i]
		}
		return i >= 0, nil
	})
	return out
}
