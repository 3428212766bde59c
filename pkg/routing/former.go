package routing

import (
	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// remember keeps, for each cell whose envelopes are being promoted, the table in which it was last: what it says was
// there may have to be promoted. A snapshot that was built without an earlier one has none.
func (s *Snapshot) remember(previous *Snapshot) {
	s.former = nil
	if len(s.Promoting) == 0 || previous == nil {
		return
	}
	s.former = map[string]*placement.Table{}
	for cell := range s.Promoting {
		if table := previous.former[cell]; table != nil {
			s.former[cell] = table
		} else if !previous.Promoting[cell] {
			s.former[cell] = previous.Table
		}
	}
}

// MayPromote says whether an object with that key may have an envelope that is not promoted yet: it was, or may have
// been, in a cell that has left the ring. It is false at once where nothing is being promoted.
func (s *Snapshot) MayPromote(key placement.KeyRule, namespace, name string) bool {
	for cell := range s.Promoting {
		table := s.former[cell]
		if table == nil {
			return true
		}
		p, placed := table.Lookup(key, namespace, name)
		if !placed || p.Old() == cell || p.New() == cell {
			return true
		}
	}
	return false
}

// successor remembers what went before.
func (s *Snapshot) successor(previous *Snapshot, ring *v1alpha1.Ring) *Snapshot {
	s.observe(ring)
	s.remember(previous)
	return s
}
