package router

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// fetch returns what a tombstone of one source stands for: the object in the cell that it has moved to, which had
// listed its own before the object arrived. It is asked for with the list's selectors, since it may have changed. It is
// false where the object exists no more, or does not match.
func (l *listing) fetch(part int, moved wire.Meta) (int, wire.Item, bool, error) {
	for n := range maxLooks {
		if n > 0 && !lookLater(l.r) {
			return 0, wire.Item{}, false, l.r.Context().Err()
		}
		arrives := false
		for i := range l.sources {
			if i == part || l.listedAfter(i, part) || !mayHave(l.info, moved, l.sources[i].plane.Name(), l.state.Snapshot) {
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

// listedAfter says whether one source was listed when another one had been: what had moved to it by then was in its
// list, unless it was deleted since. What it has by now was made after the list, whose version does not know it: the
// watch from there tells of it, and would for a second time.
func (l *listing) listedAfter(i, before int) bool {
	// A list that need not be the newest, or goes on with an older one, may be older than the other source's.
	return l.query.token == nil && l.query.asked.Unset() && slices.Contains(l.sources[i].after, l.sources[before])
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
