package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// movingPatience is how long the deletion of an object waits for its move to end.
const movingPatience = 10 * time.Second

// deleteMoving deletes an object that may not be where it was listed, wherever it is when it can be written.
func (d *deletion) deleteMoving(ctx context.Context, s *listSource, path string, object wire.Meta, options *metav1.DeleteOptions) *failedPart {
	body, err := json.Marshal(options)
	if err != nil {
		return s.failure(err)
	}
	info := *d.info
	info.Verb, info.Name, info.Path = "delete", object.Name, path
	for start := time.Now(); ; {
		out := d.r.Clone(ctx)
		out.Method, out.URL = http.MethodDelete, &url.URL{Path: path}
		out.Header = http.Header{"Accept": {runtime.ContentTypeJSON}, "Content-Type": {runtime.ContentTypeJSON}, "User-Agent": d.r.Header["User-Agent"]}
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		held := newHeldAnswer()
		d.deleteAnywhere(held, out, &info)
		switch {
		case ctx.Err() != nil:
			return s.failure(ctx.Err())
		case held.code < http.StatusMultipleChoices:
			return nil
		case held.code != http.StatusTooManyRequests || time.Since(start) > movingPatience:
			answer := &http.Response{StatusCode: held.code, Status: http.StatusText(held.code), Header: held.header}
			return &failedPart{source: s.plane.Name(), answer: answer, body: held.body.Bytes()}
		case !lookLater(out):
			return s.failure(ctx.Err())
		}
	}
}

// deleteAnywhere looks once for the object by the newest configuration, and deletes it where it can be written.
func (d *deletion) deleteAnywhere(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	if !route.HasNoPlace(info, d.h.state().Snapshot) {
		d.h.move(w, r, info)
		return
	}
	begun := d.h.begin(feed.Placed)
	defer begun.End()
	to := route.Decide(info, begun.Snapshot)
	if d.h.mayWrite(w, r, begun.State, to) {
		d.h.find(w, r, begun.State, info, to.Sources)
	}
}
