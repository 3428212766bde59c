package router

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// find serves a request for an object whose name does not tell its cell. Every source is asked
// whether it has the object, with the router's own rights, and the one that has it serves the request
// with the user's. Where none has it, the first that has nothing of that name says so in the API's own words, and where
// two have it the request is refused with their names: either one would be a guess. One that does not answer is
// waited for only as long as nobody has it.
func (h *handler) find(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	found := whoHas(r.Context(), state, info, sources)
	if len(holding(found)) == 0 && slices.ContainsFunc(found, finding.leftOver) {
		// It may have left one source before that was asked, and have arrived in another after that was.
		found = whoHas(r.Context(), state, info, sources)
	}
	switch holders := holding(found); {
	case len(holders) == 1 && statusOf(holders[0].object) != "" && mutates(r.Method) && !connects(info):
		// Not every cell refuses it: no fence sees a Scale, and some have none.
		h.comeAgain(w, r, info)
	case len(holders) == 1:
		if !ofCollection(r.Context()) {
			metrics.From(r.Context()).Served(holders[0].source)
			h.annotate(r.Context(), holders[0].source)
		}
		h.single(w, r, state, info, holders[0].source)
	case len(holders) > 1:
		h.refuse(w, r, apierrors.NewConflict(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, info.Name,
			fmt.Errorf("it exists in cells %s; ask one of them: %sNAME", strings.Join(names(holders), ", "), rawPrefix)))
	default:
		h.findNowhere(w, r, state, info, found)
	}
}

// findNowhere serves a request for what no source has, as far as all of them say so.
func (h *handler) findNowhere(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, found []finding) {
	if failed := slices.IndexFunc(found, func(f finding) bool { return f.err != nil }); failed >= 0 {
		// Not found in the cells that answered says nothing about the one that did not.
		h.refuse(w, r, route.Unavailable(found[failed].source, found[failed].err.Error()))
		return
	}
	empty := slices.IndexFunc(found, func(f finding) bool { return f.object == nil })
	if empty < 0 {
		h.comeAgain(w, r, info)
		return
	}
	h.single(w, r, state, info, found[empty].source)
}

// comeAgain refuses a request for what is on the move.
func (h *handler) comeAgain(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	h.refuse(w, r, route.Moving(info))
}

// refuse answers what no cell gets to judge: whoever may not ask does not learn why.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, why error) {
	if err := h.authorize(r); err != nil {
		why = err
	}
	h.fail(w, r, why)
}

// findGrace is how long the sources that have not answered yet are waited for once one has the object. It is
// more than a healthy one needs: a name that is in two of them is to be told, and a hung one holds nobody up.
const findGrace = 250 * time.Millisecond

// finding is what one source says of an object: that it has none, where both others are nil.
type finding struct {
	source string
	object *metav1.PartialObjectMetadata
	err    error
}

// leftOver says whether it is what a move has left there, or not finished.
func (f finding) leftOver() bool {
	return f.object != nil && (statusOf(f.object) == v1alpha1.Migrated || statusOf(f.object) == v1alpha1.Incoming)
}

// whoHas returns what the sources say, in their order. Where one has the object, those that answer within findGrace
// count, and the others have none; where none has it, each must answer or fail. A tombstone tells nothing of the others.
func whoHas(ctx context.Context, state *feed.State, info *request.RequestInfo, sources []string) []finding {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		of int
		finding
	}
	said := make(chan answer, len(sources)) // has room for all, so that nobody is left behind
	found := make([]finding, len(sources))
	for i, source := range sources {
		found[i].source = source
		go func() {
			object, err := metadataIn(ctx, state, info, source)
			said <- answer{i, finding{source, object, err}}
		}()
	}
	var enough <-chan time.Time
	for range sources {
		select {
		case a := <-said:
			found[a.of] = a.finding
			if enough == nil && len(holding(found)) > 0 {
				enough = time.After(findGrace)
			}
		case <-enough:
			return found
		}
	}
	return found
}

// takenElsewhere says of a create of what may be in any cell whether it is in another one already. One that does not answer
// within findGrace is not waited for. Names that are drawn are not asked about, nor are events, of which there are many. What has an owner is not
// asked about: its controller makes it anew where the owner has moved to, while the old one may lie in the old cell.
func (h *handler) takenElsewhere(r *http.Request, state *feed.State, info *request.RequestInfo, to route.Route) bool {
	if info.Verb != "create" || info.Subresource != "" || info.Resource == "events" || to.Action != route.Forward || !route.HasNoPlace(info, state.Snapshot) {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), findGrace)
	defer cancel()
	others := slices.DeleteFunc(state.Snapshot.Table.Cells(), func(cell string) bool { return cell == to.Source })
	return len(holding(whoHas(ctx, state, info, others))) > 0
}

// holding are the findings of an object that counts. One that moves counts where it has neither left nor is arriving,
// and between the two where it arrives: in the copy of its tombstone, since others may be left of earlier moves.
func holding(found []finding) (holders []finding) {
	left := map[types.UID]bool{}
	for _, f := range found {
		switch {
		case f.object == nil:
		case !f.leftOver():
			holders = append(holders, f)
		case statusOf(f.object) == v1alpha1.Migrated:
			left[f.object.UID] = true
		}
	}
	if len(holders) > 0 || len(left) == 0 {
		return holders
	}
	for _, f := range found {
		if f.object != nil && statusOf(f.object) == v1alpha1.Incoming && left[types.UID(f.object.Annotations[v1alpha1.AnnotationFromUID])] {
			holders = append(holders, f)
		}
	}
	return holders
}

func names(found []finding) (sources []string) {
	for _, f := range found {
		sources = append(sources, f.source)
	}
	return sources
}
