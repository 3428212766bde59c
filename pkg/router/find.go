package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// find serves a request for an object whose name does not tell its cell. Every source is asked
// whether it has the object, with the router's own rights, and the one that has it serves the request
// with the user's. Where none has it, the first source says so in the API's own words, and where two
// have it the request is refused with their names: either one would be a guess.
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

// whoHas returns the sources that hold the object, in their order, and the first that gave no answer.
func whoHas(ctx context.Context, state *feed.State, info *request.RequestInfo, sources []string) ([]string, *failedPart) {
	has := make([]bool, len(sources))
	failures := make([]error, len(sources))
	var asked sync.WaitGroup
	for i, source := range sources {
		asked.Go(func() { has[i], failures[i] = hasObject(ctx, state, info, source) })
	}
	asked.Wait()
	var holders []string
	var failed *failedPart
	for i, source := range sources {
		if has[i] {
			holders = append(holders, source)
		}
		if failures[i] != nil && failed == nil {
			failed = &failedPart{source: source, err: failures[i]}
		}
	}
	return holders, failed
}

func hasObject(ctx context.Context, state *feed.State, info *request.RequestInfo, source string) (bool, error) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return false, err
	}
	resource := plane.Dynamic().Resource(schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource})
	_, err = resource.Namespace(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
