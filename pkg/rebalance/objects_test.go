package rebalance_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// placed is an object as it was before a run.
type placed struct {
	cell    string
	version string
}

// few objects are enough for chance to move some of them and to leave others, where a cell gives away a part
// of what it has: of 30, all stay or all move in less than one of 10,000 runs.
const few = 30

// fill makes so many config maps, each in the cell that owns it.
func (b *bed) fill(n int) map[string]placed {
	b.t.Helper()
	snap := b.snapshot()
	out := map[string]placed{}
	for i := range n {
		name := fmt.Sprintf("x-%d", i)
		p, ok := snap.Table.LookupKey(b.namespace + "/" + name)
		if !ok {
			b.t.Fatal("nothing is placed")
		}
		out[name] = b.place(p.Old(), name)
	}
	return out
}

// place makes one config map in a cell.
func (b *bed) place(cell, name string) placed {
	b.t.Helper()
	cm, err := b.cells[cell].CoreV1().ConfigMaps(b.namespace).Create(b.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"of": name},
	}, metav1.CreateOptions{})
	b.must(err)
	return placed{cell, cm.ResourceVersion}
}

// copies are the objects of a name in all cells, by cell.
func (b *bed) copies() map[string]map[string]*corev1.ConfigMap {
	b.t.Helper()
	out := map[string]map[string]*corev1.ConfigMap{}
	for cell, kube := range b.cells {
		list, err := kube.CoreV1().ConfigMaps(b.namespace).List(b.t.Context(), metav1.ListOptions{})
		b.must(err)
		for i := range list.Items {
			cm := &list.Items[i]
			if cm.Name == "kube-root-ca.crt" {
				continue
			}
			if out[cm.Name] == nil {
				out[cm.Name] = map[string]*corev1.ConfigMap{}
			}
			out[cm.Name][cell] = cm
		}
	}
	return out
}

// settled wants every object to be in the cell that owns it by the current ring, once, and those that did
// not have to move to be untouched, unless the run was aborted. It returns the names of those that moved.
func (b *bed) settled(before map[string]placed) map[string]bool {
	b.t.Helper()
	snap, copies, ring := b.snapshot(), b.copies(), b.ring()
	if !snap.Table.Stable() || ring.Status.Phase != v1alpha1.RingStable {
		b.t.Errorf("the ring is %s", ring.Status.Phase)
	}
	moved := map[string]bool{}
	for name, was := range before {
		p, _ := snap.Table.LookupKey(b.namespace + "/" + name)
		for cell, cm := range copies[name] {
			if cell != p.Old() && cm.DeletionTimestamp != nil {
				continue // the cell's garbage collector has the rest to do
			}
			status := v1alpha1.RebalanceStatus(cm.Labels[v1alpha1.LabelRebalanceStatus])
			if cell != p.Old() && status != v1alpha1.Migrated || cell == p.Old() && status != "" {
				b.t.Errorf("%s in %s has status %q; its owner is %s", name, cell, status, p.Old())
			}
		}
		now := copies[name][p.Old()]
		switch {
		case now == nil || now.Data["of"] != name:
			b.t.Errorf("%s is not in %s: %v", name, p.Old(), now)
		case p.Old() == was.cell && !ring.Status.Aborting && now.ResourceVersion != was.version && len(copies[name]) == 1:
			b.t.Errorf("%s stays in %s and was written: version %s, then %s", name, was.cell, was.version, now.ResourceVersion)
		}
		moved[name] = p.Old() != was.cell
	}
	return moved
}
