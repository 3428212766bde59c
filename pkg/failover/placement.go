package failover

import (
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// without is the status of a ring that a cell has left, and whose objects are promoted.
func without(s *v1alpha1.RingStatus, cell string) *v1alpha1.RingStatus {
	out := s.DeepCopy()
	for _, layout := range []*v1alpha1.RingLayout{out.Current, out.Target} {
		if layout != nil {
			layout.Members = leave(layout.Members, cell)
		}
	}
	out.Unavailable, out.Promoting = with(out.Unavailable, cell), with(out.Promoting, cell)
	return out
}

func leave(members []v1alpha1.RingMember, cell string) []v1alpha1.RingMember {
	return slices.DeleteFunc(members, func(m v1alpha1.RingMember) bool { return m.Cell == cell })
}

// with adds a name to a set.
func with(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(slices.Clone(names), name)
}

// minus takes a name out of a set.
func minus(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

// placeAfter says where keys map once the cell has left.
func placeAfter(ring *v1alpha1.Ring, cell string) (*routing.Snapshot, error) {
	after := ring.DeepCopy()
	after.Status = *without(&ring.Status, cell)
	return routing.FromRing(after)
}

// usable says whether a copy in a cell is promoted there by a ring.
func usable(snap *routing.Snapshot, cell string, c *Copy) bool {
	if c.Corrupt != nil || c.Header.BackupCell != cell {
		return false
	}
	place, placed := snap.Table.LookupKey(c.Header.Unit)
	return placed && (place.Old() == cell || place.New() == cell)
}
