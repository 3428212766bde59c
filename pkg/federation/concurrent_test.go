package federation_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// atOnce runs all adds at the same moment and returns their errors.
func atOnce(ctx context.Context, b *bed, cells ...federation.NewCell) []error {
	errs := make([]error, len(cells))
	start := make(chan struct{})
	var done sync.WaitGroup
	for i, cell := range cells {
		done.Go(func() {
			<-start
			_, errs[i] = federation.AddCell(ctx, b.rcp, cell, federation.Options{})
		})
	}
	close(start)
	done.Wait()
	return errs
}

func TestTwoCellsAtOnceAreBothAdded(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	err := errors.Join(atOnce(t.Context(), b,
		federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1])},
		federation.NewCell{Name: "cell-3", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[2])},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	if ring := b.ring(t); len(ring.Spec.Members) != 3 {
		t.Errorf("wanted %v; want three members", ring.Spec.Members)
	}
}

func TestTheSameAddAtOnce(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	cell := federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1])}
	if err := errors.Join(atOnce(t.Context(), b, cell, cell, cell)...); err != nil {
		t.Fatal(err)
	}
	if got := b.wanted(t); got != "cell-1 cell-2" {
		t.Errorf("wanted %q", got)
	}
}

func TestOneNameForTwoControlPlanesAtOnce(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	errs := atOnce(t.Context(), b,
		federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1])},
		federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[2])},
	)
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("errors %v; want exactly one", errs)
	}
	wantError(t, errors.Join(errs...), exit.Refused, "another control plane")
	if got := b.wanted(t); got != "cell-1 cell-2" {
		t.Errorf("wanted %q", got)
	}
}

func TestTwoNamesForOneControlPlaneAtOnce(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	data := sandboxtest.Kubeconfig(t, b.cells[1])
	for range 5 {
		errs := atOnce(t.Context(), b,
			federation.NewCell{Name: "cell-2", Kubeconfig: data}, federation.NewCell{Name: "cell-3", Kubeconfig: data})
		if errs[0] == nil && errs[1] == nil {
			t.Fatal("both were added")
		}
		cells, _ := b.stored(t)
		if members := b.ring(t).Spec.Members; len(members) != len(cells) || len(cells) > 2 {
			t.Fatalf("cells %v, members %v; want at most one new, and the same", cells, members)
		}
		if len(cells) == 2 {
			return // one won
		}
	}
}
