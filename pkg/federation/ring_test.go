package federation_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func TestDrainAndUndrain(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	if _, err := federation.SetWeight(t.Context(), b.rcp, "cell-2", 300, federation.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		change, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{})
		if err != nil || change.Changed != want {
			t.Fatalf("drain: changed %v, %v; want %v", change.Changed, err, want)
		}
	}
	_, err := federation.Drain(t.Context(), b.rcp, "cell-1", federation.Options{})
	wantError(t, err, exit.Refused, "only cell", "kubectl cell add")
	_, err = federation.SetWeight(t.Context(), b.rcp, "cell-2", 100, federation.Options{})
	wantError(t, err, exit.Refused, "not in the wanted ring", "kubectl cell undrain cell-2")
	for _, want := range []bool{true, false} {
		change, err := federation.Undrain(t.Context(), b.rcp, "cell-2", federation.Options{})
		if err != nil || change.Changed != want {
			t.Fatalf("undrain: changed %v, %v; want %v", change.Changed, err, want)
		}
	}
	// Back with the weight of the current ring.
	if m := b.ring(t).Spec.Members[1]; m.Cell != "cell-2" || m.Weight != 100 {
		t.Errorf("member %+v; want cell-2 with 100", m)
	}
}

func TestUnknownCells(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	for name, err := range map[string]error{
		"drain":   second(federation.Drain(t.Context(), b.rcp, "cell-9", federation.Options{})),
		"undrain": second(federation.Undrain(t.Context(), b.rcp, "cell-9", federation.Options{})),
		"weight":  second(federation.SetWeight(t.Context(), b.rcp, "cell-9", 5, federation.Options{})),
		"remove":  second(federation.RemoveCell(t.Context(), b.rcp, "cell-9", federation.RemoveOptions{})),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, err, exit.Failure, `"cell-9"`, "cell-1, cell-2") })
	}
}

func second[T any](_ T, err error) error { return err }

func TestWeightLimits(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	for _, weight := range []int32{0, -1, 1001, 1 << 30} {
		_, err := federation.SetWeight(t.Context(), b.rcp, "cell-1", weight, federation.Options{})
		wantError(t, err, exit.Usage, "must be 1 to 1000")
	}
	for _, want := range []bool{true, false} {
		change, err := federation.SetWeight(t.Context(), b.rcp, "cell-1", 1000, federation.Options{})
		if err != nil || change.Changed != want {
			t.Fatalf("weight 1000: changed %v, %v; want %v", change.Changed, err, want)
		}
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	before := b.ring(t).ResourceVersion
	dry := federation.Options{DryRun: true}
	drained, err := federation.Drain(t.Context(), b.rcp, "cell-2", dry)
	if err != nil || !drained.Changed || members(drained.After.Spec.Members) != "cell-1" {
		t.Errorf("plan %+v, %v; want cell-1 alone", drained, err)
	}
	if _, err := federation.SetWeight(t.Context(), b.rcp, "cell-2", 7, dry); err != nil {
		t.Error(err)
	}
	if b.ring(t).ResourceVersion != before {
		t.Error("a dry run changed the ring")
	}
}

// Nobody's change is lost when many change the ring at once.
func TestChangesAtOnce(t *testing.T) {
	b := newBed(t)
	b.init(t, 3)
	errs := make([]error, 3)
	var done sync.WaitGroup
	for i, cell := range []string{"cell-1", "cell-2", "cell-3"} {
		done.Go(func() {
			_, errs[i] = federation.SetWeight(t.Context(), b.rcp, cell, int32(201+i), federation.Options{})
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, m := range b.ring(t).Spec.Members {
		if m.Weight != int32(201+i) {
			t.Errorf("%s has weight %d; want %d", m.Cell, m.Weight, 201+i)
		}
	}
}

func TestWithoutARing(t *testing.T) {
	b := newBed(t)
	_, err := federation.Drain(t.Context(), b.rcp, "cell-1", federation.Options{})
	wantError(t, err, exit.Failure, "not initialised", "kubectl cell init")
}

// What only the apiserver can judge, the ring as a whole, reaches the user in its words.
func TestTooManyPoints(t *testing.T) {
	b := newBed(t)
	b.init(t, 3)
	ring := b.ring(t)
	ring.Spec.PointsPerWeight = 1000
	ring.Spec.Members[0].Weight, ring.Spec.Members[1].Weight = 1000, 1000
	ring.Spec.Members = ring.Spec.Members[:2]
	for i := range 2 {
		ring.Spec.Members = append(ring.Spec.Members, v1alpha1.RingMember{Cell: fmt.Sprintf("filler-%d", i), Weight: 1000})
	}
	if _, err := b.cell.Rings().Update(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err) // 4,000,000 points are allowed
	}
	_, err := federation.Undrain(t.Context(), b.rcp, "cell-3", federation.Options{})
	wantError(t, err, exit.Usage, "may be 4000000 points at the most")
	_, err = federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: "cell-3", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[2]), Weight: 100}, federation.Options{})
	wantError(t, err, exit.Usage, "may be 4000000 points at the most")
}
