package federation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// put writes a ConfigMap and a Secret of each name into every one of the first n cells, as leftovers
// and copies would be: only those where the map says count.
func (b *bed) put(t *testing.T, ns string, names []string, n int, edit func(cell int, meta *metav1.ObjectMeta)) {
	t.Helper()
	for i := range n {
		// The fence lets nobody else write what is in migration.
		client, err := kubernetes.NewForConfig(fence.AsMover(b.cells[i]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace(ns), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.empty(t, client, ns) })
		for _, name := range names {
			meta := metav1.ObjectMeta{Name: name, Namespace: ns, Labels: map[string]string{"app": "x"}}
			if edit != nil {
				edit(i, &meta)
			}
			if _, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// empty removes what put wrote, and the namespace, which is gone some time later.
func (b *bed) empty(t *testing.T, client kubernetes.Interface, ns string) {
	ctx := t.Context()
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx) // a test's context ends before its cleanups
	}
	mine := metav1.ListOptions{LabelSelector: "app=x"}
	if err := client.CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, mine); err != nil {
		t.Error(err)
	}
	if err := client.CoreV1().Secrets(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, mine); err != nil {
		t.Error(err)
	}
}

func counterFor(t *testing.T, b *bed) *federation.Counter {
	t.Helper()
	census, err := federation.NewCensus(t.Context(), b.rcp, b.ring(t))
	if err != nil {
		t.Fatal(err)
	}
	return census
}

func TestCensusCountsWhatTheMapPlaces(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("app-%d", i))
	}
	b.put(t, "census", names, 2, nil)
	snap, err := routing.FromRing(b.ring(t))
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]string{}, map[string]string{}
	for _, name := range names {
		p, _ := snap.Table.LookupKey("census/" + name)
		want["census/"+name] = p.Old()
	}
	for unit, err := range counterFor(t, b).Units(t.Context(), federation.CensusOptions{Namespace: "census", Selector: "app=x"}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[unit.Key]; twice {
			t.Errorf("%s twice", unit.Key)
		}
		got[unit.Key] = unit.Cell
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	t.Run("preview", func(t *testing.T) {
		ring := b.ring(t)
		ring.Spec.Members = ring.Spec.Members[:1]
		counted, err := federation.Preview(t.Context(), b.rcp, ring, federation.CensusOptions{}, plan.DiffOptions{PerNamespace: true})
		if err != nil || len(counted.Missing) > 0 {
			t.Fatal(err, counted.Missing)
		}
		var moves int64
		for _, cell := range want {
			if cell == "cell-2" {
				moves++
			}
		}
		for _, ns := range counted.Namespaces {
			// Beside ours there is the root CA of the namespace.
			if ns.Namespace == "census" && (ns.Moves < moves || ns.Moves > moves+1) {
				t.Errorf("%d of %d workloads would move; want the %d in cell-2", ns.Moves, ns.Workloads, moves)
			}
		}
	})
	t.Run("left early", func(t *testing.T) {
		for range counterFor(t, b).Units(t.Context(), federation.CensusOptions{}) {
			break
		}
	})
}

func TestCensusDuringARebalance(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	ring := b.ring(t)
	target := ring.Status.Current.DeepCopy()
	target.Members = target.Members[:1]
	ring.Status.Target, ring.Status.Phase = target, v1alpha1.RingRebalancing
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	snap, err := routing.FromRing(b.ring(t))
	if err != nil {
		t.Fatal(err)
	}
	// Names that move from cell-2 to cell-1, by the state of their migration.
	var moving []string
	for i := 0; len(moving) < 3; i++ {
		name := fmt.Sprintf("app-%d", i)
		if p, _ := snap.Table.LookupKey("moving/" + name); p.Moves() {
			moving = append(moving, name)
		}
	}
	waiting, copying, moved := moving[0], moving[1], moving[2]
	const label = v1alpha1.LabelRebalanceStatus
	b.put(t, "moving", []string{copying, moved}, 2, func(cell int, meta *metav1.ObjectMeta) {
		switch {
		case cell == 0 && meta.Name == copying:
			meta.Labels[label] = string(v1alpha1.Incoming)
		case cell == 1 && meta.Name == copying:
			meta.Labels[label] = string(v1alpha1.Migrating)
		case cell == 1 && meta.Name == moved:
			meta.Labels[label] = string(v1alpha1.Migrated)
		}
	})
	old, err := kubernetes.NewForConfig(b.cells[1])
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: waiting, Labels: map[string]string{"app": "x"}}
	if _, err := old.CoreV1().ConfigMaps("moving").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for unit, err := range counterFor(t, b).Units(t.Context(), federation.CensusOptions{Namespace: "moving", Selector: "app=x"}) {
		if err != nil {
			t.Fatal(err)
		}
		got[unit.Name] = unit.Cell + " " + string(unit.Status)
	}
	want := map[string]string{waiting: "cell-2 ", copying: "cell-2 migrating", moved: "cell-1 "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
}

func TestCensusNamesTheCellThatIsDown(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	secret, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), "cell-cell-2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[v1alpha1.KubeconfigKey] = sandboxtest.Kubeconfig(t, b.cells[1], func(c *clientcmdapi.Config) { c.Clusters["it"].Server = "https://127.0.0.1:1" })
	if _, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	inCell, err := kubernetes.NewForConfig(b.cells[0])
	if err != nil {
		t.Fatal(err)
	}
	maps := inCell.CoreV1().ConfigMaps("default")
	for i := range 10 { // some of them are cell-1's to show
		if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("m-", i)}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var missing []string
	others := 0
	for unit, err := range counterFor(t, b).Units(t.Context(), federation.CensusOptions{}) {
		var failed *federation.CellError
		switch {
		case errors.As(err, &failed):
			missing = append(missing, failed.Cell)
		case err != nil:
			t.Fatal(err)
		case unit.Cell == "cell-1":
			others++
		}
	}
	if diff := cmp.Diff([]string{"cell-2"}, missing); diff != "" || others == 0 {
		t.Errorf("missing (-want +got):\n%s\nothers: %d, want some", diff, others)
	}
}
