package backup_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestADaemonThatStartsAfterADeath leaves what was counted of the dead cell, as of the time when it was, and of the envelopes
// in it; what has no envelope because it is too large for one stays unprotected. Once the cell answers all is as it is.
func TestADaemonThatStartsAfterADeath(t *testing.T) {
	configs := sandboxtest.ControlPlanes(t, 3)
	gate := sandboxtest.NewGate(t, configs[1].Host)
	gated := rest.CopyConfig(configs[1])
	gated.Host = gate.URL()
	founders := []federation.NewCell{
		{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, gated)}, {Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, configs[2])},
	}
	if _, err := federation.Init(t.Context(), configs[0], federation.InitOptions{Founders: founders}); err != nil {
		t.Fatal(err)
	}
	clients := cellClient(t, configs[0])
	ring, err := clients.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	d := start(t, configs[0], "one")
	awaitHolder(t, configs[0], "one")
	noise := make([]byte, 1<<20-10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	large := named(t, snapshot, "cell-2", "large")
	for _, made := range []struct {
		in   *rest.Config
		name string
		data []byte
	}{
		{configs[1], named(t, snapshot, "cell-1", "one"), noise[:1]}, {configs[1], named(t, snapshot, "cell-1", "two"), noise[:1]},
		{configs[2], named(t, snapshot, "cell-2", "small"), noise[:1]}, {configs[2], large, noise},
	} {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: made.name}, BinaryData: map[string][]byte{"x": made.data}}
		if _, err := kube(t, made.in).CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before := map[string]v1alpha1.CellStatus{
		"cell-1": awaitStanding(t, clients, "cell-1", time.Time{}, func(b *v1alpha1.CellBackup) bool {
			return b.Complete && b.Objects == 2 && b.Pending == 0 && len(b.Cells) == 1 && b.Cells[0].Envelopes == 2
		}),
		"cell-2": awaitStanding(t, clients, "cell-2", time.Time{}, func(b *v1alpha1.CellBackup) bool {
			return b.Complete && b.Objects == 2 && b.Pending == 0 && b.Unprotected == 1 && len(b.Cells) == 1 && b.Cells[0].Envelopes == 1
		}),
	}
	d.stop()
	for name := range before { // it may have written once more
		before[name] = awaitStanding(t, clients, name, time.Time{}, func(*v1alpha1.CellBackup) bool { return true })
	}
	gate.Vanish()
	kept := before["cell-2"].Backup.Cells[0]
	kept.Time = &before["cell-2"].Backup.Time
	start(t, configs[0], "another")
	seen := before["cell-2"].Backup.Time
	for range 2 { // what was kept is kept again
		s := awaitStanding(t, clients, "cell-2", seen.Time, func(b *v1alpha1.CellBackup) bool { return b.Complete && b.Objects == 2 })
		seen = s.Backup.Time
		if diff := cmp.Diff([]v1alpha1.BackupPair{kept}, s.Backup.Cells); diff != "" {
			t.Errorf("envelopes in the cell that does not answer (-want +got):\n%s", diff)
		}
		listed := slices.ContainsFunc(s.Backup.UnprotectedObjects, func(u v1alpha1.UnprotectedObject) bool {
			return strings.HasSuffix(u.Object, "/"+large) && u.Cell == "cell-1"
		})
		if s.Backup.Unprotected != 1 || !listed || s.Backup.Unproven != 1 || *s.Counts != *before["cell-2"].Counts {
			t.Errorf("the cell that answers: %+v, %+v", s.Backup, s.Counts)
		}
	}
	stands := func(s v1alpha1.CellStatus) v1alpha1.CellStatus {
		return v1alpha1.CellStatus{Backup: s.Backup, Counts: s.Counts, BackupLag: s.BackupLag}
	}
	dead := awaitStanding(t, clients, "cell-1", time.Time{}, func(*v1alpha1.CellBackup) bool { return true })
	if diff := cmp.Diff(stands(before["cell-1"]), stands(dead)); diff != "" {
		t.Errorf("the cell that does not answer (-before +after):\n%s", diff)
	}
	gate.Pass()
	awaitStanding(t, clients, "cell-1", seen.Time, func(b *v1alpha1.CellBackup) bool { return b.Complete && b.Objects == 2 })
	awaitStanding(t, clients, "cell-2", seen.Time, func(b *v1alpha1.CellBackup) bool {
		return b.Pending == 0 && b.Unprotected == 1 && len(b.Cells) == 1 && b.Cells[0].Envelopes == 1 && b.Cells[0].Time == nil
	})
}

// awaitStanding waits until what is said of a cell is from after a time, and fits.
func awaitStanding(t *testing.T, clients *client.Client, cell string, after time.Time, fits func(*v1alpha1.CellBackup) bool) v1alpha1.CellStatus {
	t.Helper()
	var out v1alpha1.CellStatus
	await(t, "how "+cell+" stands", func(ctx context.Context) (bool, error) {
		found, err := clients.Cells().Get(ctx, cell, metav1.GetOptions{})
		if err != nil || found.Status.Backup == nil || !found.Status.Backup.Time.After(after) {
			return false, err
		}
		out = found.Status
		return fits(out.Backup), nil
	})
	return out
}
