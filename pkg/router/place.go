package router

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/naming"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

const (
	// maxBody is the largest body of a write, in bytes: the apiserver's own limit.
	maxBody = 3 * 1024 * 1024
	// maxDraws is how often a name is drawn before a collision is the client's to see: the
	// apiserver's own limit.
	maxDraws = 8
)

// place creates an object. Its name decides the cell, so that the body is read before it is sent.
func (h *handler) place(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) {
	data, err := readBody(w, r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	for draw := 1; ; draw++ {
		body, err := naming.Read(r.Header.Get("Content-Type"), data)
		if err != nil {
			h.fail(w, r, bodyError(err))
			return
		}
		to := route.Named(info, state.Snapshot, body.Name)
		if body.Name == "" {
			// The client gave neither name nor generateName: any cell refuses that in the API's own words.
			to = route.Route{Action: route.Forward, Source: route.RCP}
		}
		out := withBody(r, body)
		if !body.Generated || draw == maxDraws || to.Action != route.Forward {
			h.act(w, out, state, info, to)
			return
		}
		answer := &collisionWriter{ResponseWriter: w}
		h.forward(answer, out, state, to.Source)
		if !answer.collided {
			return
		}
	}
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, apierrors.NewRequestEntityTooLargeError("limit is " + strconv.Itoa(maxBody))
	case err != nil:
		return nil, apierrors.NewBadRequest("read body: " + err.Error())
	}
	return data, nil
}

func bodyError(err error) error {
	if errors.Is(err, naming.ErrUnsupported) {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusUnsupportedMediaType,
			Reason:  metav1.StatusReasonUnsupportedMediaType,
			Message: err.Error(),
		}}
	}
	return apierrors.NewBadRequest(err.Error())
}

// withBody returns r with another body.
func withBody(r *http.Request, body naming.Body) *http.Request {
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body.Data))
	out.ContentLength = int64(len(body.Data))
	out.TransferEncoding = nil
	if body.ContentType != "" {
		out.Header.Set("Content-Type", body.ContentType)
	}
	return out
}

// collisionWriter holds back the one answer that the client must not see: the name that was drawn for
// it is taken. Every other answer passes.
type collisionWriter struct {
	http.ResponseWriter
	collided bool
	passed   bool
}

func (c *collisionWriter) WriteHeader(code int) {
	if c.passed || c.collided {
		return
	}
	if c.collided = code == http.StatusConflict; c.collided {
		clear(c.Header())
		return
	}
	c.passed = true
	c.ResponseWriter.WriteHeader(code)
}

func (c *collisionWriter) Write(data []byte) (int, error) {
	if c.collided {
		return len(data), nil
	}
	c.passed = true
	return c.ResponseWriter.Write(data)
}

// Unwrap lets a streamed answer be flushed.
func (c *collisionWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
