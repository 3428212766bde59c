package mirror_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

// report is the newest of a cell, and whether there is any.
func (b *bed) report(cell string) (mirror.Report, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, there := b.reports[cell]
	return r, there
}

// unprotectedIn are the names that the newest report of a cell has.
func (b *bed) unprotectedIn(cell string) []string {
	var out []string
	r, _ := b.report(cell)
	for _, u := range r.Unprotected {
		out = append(out, u.Name)
	}
	return out
}

// TestACellThatWasNotReadIsNotReported, and neither are the envelopes in it: another mirror begins when it does not answer. What
// another cell has and is too large for an envelope there is named on, unless it has gone.
func TestACellThatWasNotReadIsNotReported(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "east", of(east))+`}}`))
	b.awaitSealed(east, west, configMaps, b.make(west, configMaps, `{metadata: {name: `+b.owned(ring, "west", of(west))+`}}`))
	gone, large, shrunk := b.owned(ring, "gone", of(west)), b.owned(ring, "large", of(west)), b.owned(ring, "shrunk", of(west))
	for _, name := range []string{gone, large, shrunk} {
		b.makeTooLarge(west, name)
	}
	b.await("what is too large to be published", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.marks[west].Unprotected) == 3
	})
	b.await("both cells to be reported", func() bool {
		of, _ := b.report(east)
		to, _ := b.report(west)
		return of.Complete && of.Objects == 1 && len(of.Unread) == 0 && to.Complete && len(to.Unread) == 0 && len(to.Pairs) == 1 && to.Pairs[0].Envelopes == 1 &&
			to.Pairs[0].Unprotected == 3
	})
	stop()
	b.gates[east].cut()
	b.delete(west, configMaps, gone)
	b.mu.Lock()
	clear(b.reports)
	b.mu.Unlock()

	b.start(ring)
	b.await("the cell that answers to be reported", func() bool {
		r, there := b.report(west)
		return there && len(r.Unread) > 0 && slices.Equal(b.unprotectedIn(west), []string{large, shrunk})
	})
	r, _ := b.report(west)
	if !r.Complete || r.Objects != 3 || r.Envelopes != 1 || len(r.Pairs) > 0 || !slices.Equal(r.Unread, []string{east}) {
		t.Errorf("the cell that answers: %+v", r)
	}
	if r, there := b.report(east); there {
		t.Errorf("the cell that does not answer: %+v", r)
	}
	b.edit(west, configMaps, shrunk, func(o *unstructured.Unstructured) { delete(o.Object, "binaryData") })
	b.gates[east].closed.Store(false)
	b.await("everything to be known", func() bool {
		of, _ := b.report(east)
		to, _ := b.report(west)
		return of.Complete && of.Objects == 1 && to.Pending == 0 && len(to.Unread) == 0 && len(to.Pairs) == 1 && to.Pairs[0].Envelopes == 2 && to.Pairs[0].Unprotected == 1 &&
			slices.Equal(b.unprotectedIn(west), []string{large})
	})
}
