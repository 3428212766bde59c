package mirror_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

// holdRehearsals has nothing rehearsed in a cell until the returned function is called.
func (b *bed) holdRehearsals(cell string) (free func()) { return hold(&b.gates[cell].rehearse) }

// unprotected are the names that the newest mark of the cell east has.
func (b *bed) unprotected() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, u := range b.marks[east].Unprotected {
		out = append(out, u.Name)
	}
	return out
}

// TestWhatWasRefusedStaysNamed where another mirror takes over, and where the way to the object's cell changes, before anything
// is rehearsed again. What has gone meanwhile does not.
func TestWhatWasRefusedStaysNamed(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	b.admitsNone(secrets, nil)
	gone, kept := b.owned(ring, "gone", of(east)), b.owned(ring, "kept", of(east))
	for _, name := range []string{gone, kept} {
		b.awaitSealed(west, east, secrets, b.make(east, secrets, `{metadata: {name: `+name+`}}`))
	}
	b.await("both to be named", func() bool { return slices.Equal(b.unprotected(), []string{gone, kept}) })
	stop()
	b.delete(east, secrets, gone)
	free := b.holdRehearsals(west)
	b.mu.Lock()
	since := b.marks[east].Unprotected[1].Since
	b.unreadable = errClosed
	b.published = func(m mirror.Mark) {
		if m.Cell == east && (len(m.Unprotected) != 1 || m.Unprotected[0].Name != kept || !m.Unprotected[0].Since.Equal(since)) {
			t.Errorf("unprotected: %+v; want %s alone, since %s", m.Unprotected, kept, since)
		}
	}
	b.mu.Unlock()

	b.start(b.setRing([]string{east, west}, nil))
	b.awaitReports(4, func() {
		if b.complete(east) {
			t.Fatal("a mark is published that replaces what could not be read")
		}
	})
	b.mu.Lock()
	b.unreadable = nil
	b.mu.Unlock()
	b.settled(east, west)
	b.renewed[east]++
	b.tell(b.setRing([]string{east, west}, nil))
	b.settled(east, west)

	b.mu.Lock()
	b.published = nil
	b.mu.Unlock()
	free()
	if err := b.kube[west].CoreV1().ResourceQuotas(b.namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.await("nothing to be named", func() bool { return len(b.unprotected()) == 0 })
}
