package router

import (
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// remaining is how many objects come behind the page that was just written, nil where that is not certain. To
// know it the page that each source is in is read to its end; the sources count what is behind that.
func (l *listing) remaining(merger *merge.Merger) (*int64, error) {
	if !l.countable() {
		return nil, nil
	}
	n := merger.Waiting()
	for i, s := range l.sources {
		count, known, err := s.remaining(func(o wire.Meta) bool { return l.judge(i, o).Kind == merge.Shown })
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, nil
		}
		n += count
	}
	return &n, nil
}

// countable says whether sources' counts can be added up: only where none has objects of the resource that are
// not shown. Control planes have copies of their own of some, system namespaces show those of the RCP alone, and
// a ring that has ever changed may have left something behind.
func (l *listing) countable() bool {
	if l.info.Namespace == "" {
		return false
	}
	class, _ := l.state.Snapshot.Classes.Of(l.info.APIGroup, l.info.Resource, l.info.Namespace)
	switch class {
	case placement.Sharded, placement.Local, placement.Dependent:
		return l.state.Snapshot.Epoch == 1 && len(placement.SelfMade(l.info.APIGroup, l.info.Resource, l.info.Namespace)) == 0
	}
	return true // one control plane has them all
}

// remaining counts what is left of the source's page and adds what the source says comes behind it; known is
// false where it does not say.
func (s *listSource) remaining(visible func(wire.Meta) bool) (n int64, known bool, err error) {
	for s.reader != nil {
		item, err := s.reader.Next()
		if err != nil {
			if err := s.turn(err); err != nil {
				return 0, false, err
			}
			continue
		}
		if visible(item.Meta) {
			n++
		}
	}
	if s.next == nil {
		return n, true, nil
	}
	if s.list.RemainingItemCount == nil {
		return 0, false, nil
	}
	return n + *s.list.RemainingItemCount, true, nil
}
