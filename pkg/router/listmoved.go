package router

import (
	"io"
	"maps"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// fetch returns what a tombstone of one source stands for: the object in the cell that it has moved to, which had
// listed its own before the object arrived. It is asked for with the list's selectors, since it may have changed. It is
// false where the object exists no more, or does not match.
func (l *listing) fetch(part int, moved wire.Meta) (int, wire.Item, bool, error) {
	for n := range maxLooks {
		if n > 0 && !pause(l.r, lookPause) {
			return 0, wire.Item{}, false, l.r.Context().Err()
		}
		arrives := false
		for i := range l.sources {
			if i == part || !mayHave(l.info, moved, l.sources[i].plane.Name(), l.state.Snapshot) {
				continue
			}
			item, err := l.sources[i].named(l.query.naming(moved))
			switch {
			case err == io.EOF: //nolint:errorlint // an error that wraps it is a connection that broke off
				continue
			case err != nil:
				return 0, wire.Item{}, false, &merge.PartError{Part: i, Err: err}
			}
			switch seen := seenOf(item.Meta); {
			case seen == shown, seen == arriving && n == maxLooks-1:
				return i, item, true, nil
			case seen == arriving:
				arrives = true
			}
		}
		if !arrives {
			return 0, wire.Item{}, false, nil
		}
	}
	return 0, wire.Item{}, false, nil
}

// named asks the source for one object, as it is now. It is io.EOF where there is none.
func (s *listSource) named(query map[string][]string) (wire.Item, error) {
	one := &listSource{plane: s.plane, slot: s.slot, query: s.query, request: s.request, accept: s.accept, next: query}
	defer one.close()
	return one.Next()
}

// naming is a query for one object, under the selectors of the list.
func (q *listQuery) naming(object wire.Meta) map[string][]string {
	values := maps.Clone(q.values)
	for _, name := range []string{"limit", "continue", "resourceVersion", "resourceVersionMatch"} {
		values.Del(name)
	}
	selectors := []string{"metadata.name=" + object.Name}
	if object.Namespace != "" {
		selectors = append(selectors, "metadata.namespace="+object.Namespace)
	}
	if given := values.Get("fieldSelector"); given != "" {
		selectors = append(selectors, given)
	}
	values.Set("fieldSelector", strings.Join(selectors, ","))
	return values
}
