package federation

import (
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

func TestNextSlot(t *testing.T) {
	slots := []v1alpha1.RingSlot{
		{Slot: 1, Cell: "cell-1", ControlPlane: "a"},
		{Slot: 2, Cell: "cell-2", ControlPlane: "b"},
		{Slot: 4, Cell: "cell-1", ControlPlane: "c"},
		{Slot: 5, Cell: "cell-5", ControlPlane: "e", GivenUp: true},
	}
	for _, tc := range []struct {
		name, cell, controlPlane string
		want                     int32
	}{
		{"a new cell", "cell-3", "d", 6},
		{"the same control plane keeps its slot", "cell-2", "b", 0},
		{"the newest of a name counts", "cell-1", "c", 0},
		{"an earlier control plane of the name comes back", "cell-1", "a", 6},
		{"another control plane under an old name", "cell-2", "z", 6},
		{"one that was given up comes back", "cell-5", "e", 6},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := nextSlot(slots, tc.cell, tc.controlPlane)
			if err != nil || got != tc.want {
				t.Errorf("nextSlot = %d, %v; want %d", got, err, tc.want)
			}
		})
	}
	if _, err := nextSlot([]v1alpha1.RingSlot{{Slot: maxSlot, Cell: "x"}}, "y", "y"); err == nil {
		t.Error("a slot beyond the highest was given away")
	}
	if got, _ := nextSlot(nil, "cell-1", "a"); got != 1 {
		t.Errorf("the first slot is %d, want 1", got)
	}
}
