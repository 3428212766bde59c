package failover

import (
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// stage is how far a run has come, by the Ring alone: what was written last.
type stage int

const (
	// untouched: the Ring does not know of the run.
	untouched stage = iota
	// fenced: the cell is unavailable and still in the ring.
	fenced
	// left: the cell has left the ring, and its copies are being promoted.
	left
	// over: nothing is promoted any more.
	over
)

func stageOf(s *v1alpha1.RingStatus, cell string) stage {
	switch {
	case contains(s.Promoting, cell):
		return left
	case contains(cellsOf(s), cell) && contains(s.Unavailable, cell):
		return fenced
	case contains(s.Unavailable, cell):
		return over
	}
	return untouched
}

func contains(names []string, name string) bool { return slices.Contains(names, name) }

// fenceOff is the step fence.
func fenceOff(s *v1alpha1.RingStatus, run, cell string) {
	s.Epoch++
	s.Failover, s.Unavailable = run, with(s.Unavailable, cell)
}

// unfence takes it back.
func unfence(s *v1alpha1.RingStatus, cell string) {
	s.Epoch++
	s.Failover, s.Unavailable = "", minus(s.Unavailable, cell)
}

// takeOut is the step ring. The report has not read the copies in some cells.
func takeOut(s *v1alpha1.RingStatus, cell string, unread []string) {
	next := without(s, cell)
	next.Epoch++
	for _, name := range unread {
		next.Withheld = with(next.Withheld, name)
	}
	next.Withheld = minus(next.Withheld, cell)
	*s = *next
}

// end is the step end: of every cell that has nothing left to promote.
func end(s *v1alpha1.RingStatus, cells []string) {
	s.Epoch++
	s.Failover = ""
	for _, cell := range cells {
		s.Promoting = minus(s.Promoting, cell)
	}
	if len(s.Promoting) == 0 {
		s.Withheld = nil
	}
}
