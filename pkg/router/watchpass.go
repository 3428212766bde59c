package router

import (
	"context"
	"io"
	"net/http"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// pass sends a request on to one control plane, and its answer back, unread. A watch ends when the router stops, as
// one that has lasted long enough: nothing would end it otherwise before the router gives up waiting for it, and until
// then nobody could connect.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, plane *upstream.ControlPlane) {
	info, ok := request.RequestInfoFrom(r.Context())
	if !ok || info.Verb != "watch" || r.Header.Get("Upgrade") != "" {
		plane.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	answer, err := plane.Send(r.WithContext(ctx), upstream.Changes{}) //nolint:bodyclose // Pass closes it
	if err != nil {
		h.noAnswer(w, r, plane.Name(), err)
		return
	}
	answer.Body = &untilStopping{ReadCloser: answer.Body, stopping: h.stopping}
	control := http.NewResponseController(w)
	limited := &limitedWriter{ResponseWriter: w, control: control, limit: newWriteLimit(control, h.slowClient)}
	defer limited.limit.end()
	plane.Pass(limited, answer)
}

// untilStopping is a stream that has ended in order where it was ended because the router stops.
type untilStopping struct {
	io.ReadCloser
	stopping context.Context
}

func (b *untilStopping) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.stopping.Err() != nil {
		err = io.EOF
	}
	return n, err
}

// limitedWriter drops a client that does not take what is written to it.
type limitedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   *writeLimit
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.limit.begin()
	return w.ResponseWriter.Write(p)
}

// FlushError is what [http.ResponseController] looks for.
func (w *limitedWriter) FlushError() error {
	err := w.control.Flush()
	w.limit.end()
	return err
}
