package router

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/naming"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

const (
	// maxBody is the largest body of a write, in bytes: the apiserver's own limit.
	maxBody = 3 * 1024 * 1024
	// bodyTimeout is how long a client may take to send one: the apiserver's limit for a whole request.
	bodyTimeout = time.Minute
	// maxDraws is how often a name is drawn before a collision is the client's to see: the
	// apiserver's own limit.
	maxDraws = 8
)

// place reads or draws the name of the object that a create makes, and hands the request to create. A
// drawn name that is taken is drawn again, without the client knowing.
func (h *handler) place(w http.ResponseWriter, r *http.Request, create func(w http.ResponseWriter, r *http.Request, name string, drawn bool)) {
	data, err := h.readEarly(w, r)
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
		out := withBody(r, body)
		if !body.Generated {
			create(w, out, body.Name, false)
			return
		}
		// Uncompressed, so that the reason of a conflict can be read.
		out.Header.Del("Accept-Encoding")
		answer := newHeldAnswer()
		create(answer, out, body.Name, true)
		if !answer.collided() || draw == maxDraws {
			h.auditName(r, body)
			answer.release(w)
			return
		}
	}
}

// readEarly reads the body of a request that no control plane has room for yet, since only its body tells which one.
func (h *handler) readEarly(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	reading, ok := h.inFlight.enter(poolEarly, true)
	if !ok && !privileged(r) {
		return nil, apierrors.NewTooManyRequests("as many bodies are being read as may be, please try again later", route.RetryAfterSeconds)
	}
	defer reading.leave()
	return readBody(w, r)
}

// readBody reads a whole body, as large as an apiserver takes it, within bodyTimeout.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return readBodyWithin(w, r, bodyTimeout)
}

func readBodyWithin(w http.ResponseWriter, r *http.Request, limit time.Duration) ([]byte, error) {
	// Where the server has no deadlines, which is in tests, there is nothing to bound.
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(limit))
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		_ = connection.SetReadDeadline(time.Time{})
	} // else it stays: the server reads on to the end of the body before it answers
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
