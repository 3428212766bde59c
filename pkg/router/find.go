package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// find serves a request for an object whose name does not tell its cell. Every source is asked
// whether it has the object, with the router's own rights, and the one that has it serves the request
// with the user's. Where none has it, the first source says so in the API's own words, and where two
// have it the request is refused with their names: either one would be a guess. One that does not answer is
// waited for only as long as nobody has it.
func (h *handler) find(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	holders, failed := whoHas(r.Context(), state, info, sources)
	switch {
	case len(holders) == 1:
		metrics.From(r.Context()).Served(holders[0])
		h.annotate(r.Context(), holders[0])
		h.single(w, r, state, info, holders[0])
	case len(holders) > 1:
		h.fail(w, r, apierrors.NewConflict(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, info.Name,
			fmt.Errorf("it exists in cells %s; ask one of them: %sNAME", strings.Join(holders, ", "), rawPrefix)))
	case failed != nil:
		// Not found in the cells that answered says nothing about the one that did not.
		h.fail(w, r, route.Unavailable(failed.source, failed.err.Error()))
	default:
		h.single(w, r, state, info, sources[0])
	}
}

// findGrace is how long the sources that have not answered yet are waited for once one has the object. It is
// more than a healthy one needs: a name that is in two of them is to be told, and a hung one holds nobody up.
const findGrace = 250 * time.Millisecond

// finding is what one source says of an object.
type finding struct {
	source int
	object *metav1.PartialObjectMetadata
	err    error
}

// whoHas returns the sources that hold the object, in their order, and the first that gave no answer. Where one
// has it, those that answer within findGrace count; where none has it, each must answer or fail.
func whoHas(ctx context.Context, state *feed.State, info *request.RequestInfo, sources []string) ([]string, *failedPart) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := make(chan finding, len(sources)) // has room for all, so that nobody is left behind
	for i, source := range sources {
		go func() {
			found, err := metadataIn(ctx, state, info, source)
			said <- finding{i, found, err}
		}()
	}
	found := make([]*metav1.PartialObjectMetadata, len(sources))
	failures := make([]error, len(sources))
	var enough <-chan time.Time
wait:
	for range sources {
		select {
		case f := <-said:
			found[f.source], failures[f.source] = f.object, f.err
			if f.object != nil && enough == nil {
				enough = time.After(findGrace)
			}
		case <-enough:
			break wait
		}
	}
	var failed *failedPart
	for i, source := range sources {
		if failures[i] != nil && failed == nil {
			failed = &failedPart{source: source, err: failures[i]}
		}
	}
	return holding(sources, found), failed
}

// holding are the sources in which an object counts. One that moves counts where it has neither left nor is arriving,
// and between the two where it arrives.
func holding(sources []string, found []*metav1.PartialObjectMetadata) (holders []string) {
	arriving, moved := "", false
	for i, source := range sources {
		switch {
		case found[i] == nil:
		case statusOf(found[i]) == v1alpha1.Migrated:
			moved = true
		case statusOf(found[i]) == v1alpha1.Incoming:
			arriving = source
		default:
			holders = append(holders, source)
		}
	}
	if len(holders) == 0 && moved && arriving != "" {
		return []string{arriving}
	}
	return holders
}
