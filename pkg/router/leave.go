package router

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// farewell is how long watches go on after the router was asked to stop. By then its listener is closed and clients know
// that their connections take no more requests (GOAWAY). One whose watch ended before would open it again here, where it
// would end at once; an informer takes a watch that ends without an event for lost, and lists.
const farewell = 300 * time.Millisecond

// leave is done a farewell after stopping.
func leave(stopping context.Context) context.Context {
	leaving, cancel := context.WithCancel(context.WithoutCancel(stopping))
	context.AfterFunc(stopping, func() { time.AfterFunc(farewell, cancel) })
	return leaving
}

// refusesWatches answers a watch that begins while the router stops, and says whether it did: clients come again by
// themselves, on another connection.
func (h *handler) refusesWatches(w http.ResponseWriter, r *http.Request) bool {
	if h.stopping.Err() == nil {
		return false
	}
	w.Header().Set("Connection", "close")
	h.fail(w, r, apierrors.NewTooManyRequests("this router is about to stop, please try again", route.RetryAfterSeconds))
	return true
}
