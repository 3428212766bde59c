package router

import (
	"context"
	"io"
	"net/http"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// pass sends a request on to one control plane, and its answer back, unread. Of what the RCP would do it is only asked
// beforehand whether it has what a token is to be bound to. A watch ends when the router stops, as
// one that has lasted long enough: nothing would end it otherwise before the router gives up waiting for it, and until
// then nobody could connect.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, plane *upstream.ControlPlane) {
	info, ok := request.RequestInfoFrom(r.Context())
	if ok && asksForToken(info) && plane.Name() == route.RCP {
		if err := h.refuseFarBound(w, r, info); err != nil {
			h.refuse(w, r, err)
			return
		}
	}
	if !ok || info.Verb != "watch" || r.Header.Get("Upgrade") != "" {
		plane.ServeHTTP(w, r)
		return
	}
	if h.refusesWatches(w, r) {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.leaving, cancel)()
	answer, err := plane.Send(r.WithContext(ctx), upstream.Changes{}) //nolint:bodyclose // Pass closes it
	if err != nil {
		h.noAnswer(w, r, plane.Name(), err)
		return
	}
	answer.Body = &untilLeaving{ReadCloser: answer.Body, leaving: h.leaving}
	limited := newLimitedWriter(w, h.slowClient)
	defer limited.limit.end()
	plane.Pass(limited, answer)
}

// untilLeaving is a stream that has ended in order where it was ended because the router stops.
type untilLeaving struct {
	io.ReadCloser
	leaving context.Context
}

func (b *untilLeaving) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.leaving.Err() != nil {
		err = io.EOF
	}
	return n, err
}
