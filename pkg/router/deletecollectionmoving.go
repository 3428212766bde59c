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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// movingPatience is the default of Config.MovingPatience.
const movingPatience = 10 * time.Second

// deleteMoving deletes an object that may not be where it was listed, wherever it is when it can be written. Where it is
// gone, also where another one has taken its name meanwhile, that is a failure with the status 404.
//
// Unless the client has preconditions of its own, the UID is one here too: each look follows the object's trail.
func (d *deletion) deleteMoving(ctx context.Context, s *listSource, path string, object wire.Meta, options *metav1.DeleteOptions, ours bool) *failedPart {
	info := deleting(d.info, object)
	info.Path = path
	t := trail{types.UID(object.UID)}
	var conflict *failedPart
	for start := time.Now(); ; {
		if ours {
			tried := t.last()
			sight, err := d.follow(ctx, s, info, &t)
			switch {
			case err != nil:
				return s.failure(err)
			case sight == taken:
				return &failedPart{source: s.plane.Name(), answer: &http.Response{StatusCode: http.StatusNotFound}}
			case conflict != nil && sight == shown && t.last() == tried:
				return conflict // it is of another kind, such as a webhook's
			}
			options.Preconditions = metav1.NewUIDPreconditions(string(t.last()))
		}
		held, err := d.tryAnywhere(ctx, path, info, options)
		switch {
		case err != nil:
			return s.failure(err)
		case held.code < http.StatusMultipleChoices:
			return nil
		}
		answer := &http.Response{StatusCode: held.code, Status: http.StatusText(held.code), Header: held.header}
		f := &failedPart{source: s.plane.Name(), answer: answer, body: held.body.Bytes()}
		conflict = nil
		switch late := time.Since(start) > d.h.movingPatience; {
		case ours && held.code == http.StatusConflict && !late:
			conflict = f
		case held.code != http.StatusTooManyRequests || late:
			return f
		}
		if err := pause.For(ctx, lookPause); err != nil {
			return s.failure(err)
		}
	}
}

// tryAnywhere sends the deletion once. It fails where the client went away, and where the answer broke off.
func (d *deletion) tryAnywhere(ctx context.Context, path string, info *request.RequestInfo, options *metav1.DeleteOptions) (*heldAnswer, error) {
	body, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	out := d.r.Clone(ctx)
	out.Method, out.URL = http.MethodDelete, &url.URL{Path: path}
	out.Header = http.Header{"Accept": {runtime.ContentTypeJSON}, "Content-Type": {runtime.ContentTypeJSON}, "User-Agent": d.r.Header["User-Agent"]}
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	held := newHeldAnswer()
	whole := unbroken(func() { d.deleteAnywhere(held, out, info) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !whole:
		return nil, errBrokenOff
	}
	return held, nil
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

// ofCollection says whether what is served is one object of a collection. Who serves that was said before any object was
// looked for, and others of it are served at the same time.
func ofCollection(ctx context.Context) bool {
	asked, ok := request.RequestInfoFrom(ctx)
	return ok && isCollection(asked)
}
