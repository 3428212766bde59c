package router_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubecell/kubectl-cell/pkg/replication"
)

// divideAgainAndAgain divides the quota q of a namespace as a backup daemon does after each change, without a pause and
// past any gate. stop returns when it has ended.
func (b *bed) divideAgainAndAgain(t *testing.T, ns string) (stop func()) {
	t.Helper()
	q := replication.Quotas{RCP: dyn(t, b.rcp), Snapshot: b.snapshot(t), Client: func(cell string) (dynamic.Interface, error) {
		return dyn(t, b.cells[cell]), nil
	}}
	o := replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: ns, Name: "q"}
	ctx, cancel := context.WithCancel(t.Context())
	var dividing sync.WaitGroup
	dividing.Go(func() {
		for ctx.Err() == nil {
			_, _ = q.Settle(ctx, o, nil) // that others write at the same time is the point
		}
	})
	stop = sync.OnceFunc(func() { cancel(); dividing.Wait() })
	t.Cleanup(stop)
	return stop
}

// nameIn is a name that is not in use yet, of an object that lives in a cell.
func (b *bed) nameIn(t *testing.T, cell, ns, prefix string) string {
	t.Helper()
	table := b.snapshot(t).Table
	for i := range 1000 {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if p, ok := table.LookupKey(ns + "/" + name); ok && p.Old() == cell {
			return name
		}
	}
	t.Fatalf("no name is of cell %s", cell)
	return ""
}

// whileRead does something while an object of a slow cell is read again and again: the answers keep the cell from being
// given up for a probe that takes too long.
func whileRead(t *testing.T, maps typedcorev1.ConfigMapInterface, name string, do func() error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	for range 2 {
		reading.Go(func() {
			for ctx.Err() == nil {
				_, _ = maps.Get(ctx, name, getOptions()) // that the cell answers is the point
			}
		})
	}
	return do()
}

// TestARefusedWriteWaitsForItsPart of a quota whose only object was deleted in another cell, however long it takes that
// cell to give its part back, and whoever divides the quota meanwhile. What does not follow in time is no refusal for
// good.
func TestARefusedWriteWaitsForItsPart(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "quota-follow")
	client := kube(t, impatient(b.router))
	first := b.nameIn(t, "cell-1", ns, "first")
	maps, there := client.CoreV1().ConfigMaps(ns), b.oneOfEach(t, ns)["cell-1"]
	gate := b.gate(t, "cell-1", maps, there)
	limitNamespace(t, client, ns, corev1.ResourceList{"count/secrets": resource.MustParse("1")})
	secrets := client.CoreV1().Secrets(ns)
	create := func(name string) error {
		_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	stop := b.divideAgainAndAgain(t, ns)
	for round := range 3 {
		if err := create(first); err != nil {
			t.Fatalf("round %d: the first one, in cell-1: %v", round, err)
		}
		if err := secrets.Delete(t.Context(), first, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitUsed(t, client, ns, "count/secrets", "0")
		gate.Slow(250 * time.Millisecond)
		start, second := time.Now(), b.nameIn(t, "cell-2", ns, "second")
		if err := create(second); err != nil {
			t.Fatalf("round %d: the next one, in cell-2: %v after %s", round, err, time.Since(start))
		}
		gate.Slow(0)
		if err := secrets.Delete(t.Context(), second, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		awaitUsed(t, client, ns, "count/secrets", "0")
	}
	stop()

	if err := create(first); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), first, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitUsed(t, client, ns, "count/secrets", "0")
	gate.Slow(1050 * time.Millisecond) // longer than a cell is asked, and not as long as one that is given up
	third := b.nameIn(t, "cell-3", ns, "third")
	err := whileRead(t, maps, there, func() error { return create(third) })
	if !apierrors.IsTooManyRequests(err) {
		t.Errorf("while the part cannot follow: %v; want that it be tried again", err)
	}
	gate.Slow(0)
	if err := create(third); err != nil {
		t.Errorf("when it can: %v", err)
	}
}
