package failover

import (
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// refusal is an envelope that a cell would not promote.
type refusal struct {
	v1alpha1.FailoverKept
	// doubtful says that another look may have another outcome, lacks that the cell has no such namespace, kind or owner.
	doubtful, lacks bool
}

// doubts has the next round look again at what cells have refused: nobody brings back later what the run has kept. A cell that
// had just started, or had been away, knows more once it was connected anew. That is asked once; as long as a cell lacks a
// namespace, a kind or an owner, which are copied to it when it is back, for CatchUp.
func (p *promoter) doubts(now time.Time) bool {
	first := p.doubted.IsZero()
	late := !first && now.Sub(p.doubted) > p.CatchUp
	again := false
	for _, s := range p.cells {
		if s.doubts(first, late) {
			again = true
			s.cell = nil // it is asked anew what it serves
		}
	}
	if first && again {
		p.doubted = now
	}
	return again
}

// doubts forgets what is to be looked at once more. It is false where that is nothing.
func (s *survivor) doubts(first, late bool) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, refused := range s.kept {
		if refused.doubtful && (first || refused.lacks && !late) {
			delete(s.kept, name)
			again = true
		}
	}
	return again
}
