package failover

import (
	"maps"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// refusal is an envelope that a cell would not promote.
type refusal struct {
	v1alpha1.FailoverKept
	// doubtful says that another look may have another outcome, lacks that the cell has no such namespace, kind or owner.
	doubtful, lacks bool
	// yields says that there is an older envelope of the object, which waits for its place.
	yields bool
}

// doubts has the next round look again at what cells have refused: nobody brings back later what the run has kept. A cell that
// had just started, or had been away, knows more once it was connected anew. That is asked once; as long as a cell lacks a
// namespace, a kind or an owner, which are copied to it when it is back, for CatchUp. Only then, and once more, older envelopes
// are promoted in the place of newer ones that are refused: these are gone with that.
func (p *promoter) doubts(now time.Time) bool {
	first := p.doubted.IsZero()
	late := !first && now.Sub(p.doubted) > p.CatchUp
	again := p.reconsider(func(r refusal) bool { return r.doubtful && (first || r.lacks && !late) })
	switch {
	case again && first:
		p.doubted = now
	case !again && !p.final && p.yields():
		p.final = true
		again = p.reconsider(func(r refusal) bool { return r.doubtful })
	}
	return again
}

// reconsider forgets what is to be looked at once more. It is false where that is nothing.
func (p *promoter) reconsider(which func(refusal) bool) (again bool) {
	for _, s := range p.cells {
		if s.reconsider(which) {
			again = true
			s.cell = nil // it is asked anew what it serves
		}
	}
	return again
}

func (s *survivor) reconsider(which func(refusal) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.kept)
	maps.DeleteFunc(s.kept, func(_ string, r refusal) bool { return which(r) })
	return len(s.kept) < before
}

// yields says whether one of the envelopes that were kept would give way to an older one.
func (p *promoter) yields() bool {
	for _, s := range p.cells {
		if s.yields() {
			return true
		}
	}
	return false
}

func (s *survivor) yields() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.kept {
		if r.yields {
			return true
		}
	}
	return false
}
