package router

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// trail is the UIDs of one object, which has another one in each cell: first that under which it was listed, last that
// under which it can be deleted now. A copy tells what it is one of until it has arrived.
//
// One that has arrived before any look saw it as a copy is known by its tombstone alone. Where it was deleted and made
// anew by then, the new one is taken for it. A copy that replaces one which was seen, and arrives unseen, is taken for
// another one.
type trail []types.UID

func (t *trail) last() types.UID { return (*t)[len(*t)-1] }

// reach makes the UID the last one.
func (t *trail) reach(uid types.UID) {
	*t = append(slices.DeleteFunc(*t, func(known types.UID) bool { return known == uid }), uid)
}

// follow goes on by what was found under the object's name: shown where the object can be deleted, taken where another
// one is there instead, and absent where neither is known.
func (t *trail) follow(found []finding) seen {
	moves, isLeft := false, false
	var others []types.UID
	for _, f := range found {
		if f.object == nil {
			continue
		}
		known := slices.Contains(*t, f.object.UID)
		switch status := statusOf(f.object); {
		case status == v1alpha1.Migrated:
			isLeft = isLeft || f.object.UID == t.last()
		case status == v1alpha1.Incoming:
			if known || slices.Contains(*t, types.UID(f.object.Annotations[v1alpha1.AnnotationFromUID])) {
				t.reach(f.object.UID)
				moves = true
			}
		case !known:
			others = append(others, f.object.UID)
		case status == "":
			t.reach(f.object.UID)
			return shown
		default:
			moves = true
		}
	}
	switch {
	case moves || len(others) == 0:
		return absent
	case isLeft && len(others) == 1:
		t.reach(others[0])
		return shown
	}
	return taken
}

// follow looks for the object where it was listed and where it may be by the newest configuration. That another one has
// its name is believed only where all of them have answered.
func (d *deletion) follow(ctx context.Context, s *listSource, info *request.RequestInfo, t *trail) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	state := d.h.state()
	to := route.Decide(info, state.Snapshot)
	var found []finding
	for _, source := range slices.Concat([]string{s.plane.Name(), to.Source}, to.Sources) {
		if source != "" && !slices.ContainsFunc(found, func(f finding) bool { return f.source == source }) {
			found = append(found, finding{source: source})
		}
	}
	var looks sync.WaitGroup
	for i := range found {
		looks.Go(func() { found[i].object, found[i].err = metadataIn(ctx, state, info, found[i].source) })
	}
	looks.Wait()
	sight := t.follow(found)
	if sight != taken {
		return sight, nil
	}
	for _, f := range found {
		if f.err != nil {
			return sight, noPlane(f.source, f.err)
		}
	}
	return sight, nil
}
