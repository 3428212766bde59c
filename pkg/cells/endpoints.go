package cells

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// patience is for how long a request waits before its endpoint is asked for a sign of life. At one that gives it a
	// request may take as long as it likes: a list of very many objects does.
	patience = 3 * time.Second
	// signTimeout is how long an endpoint may take for that.
	signTimeout = 3 * time.Second
	// signPath may be read by everybody, at any age of apiserver.
	signPath = "/version"
)

// NoAnswerError is the failure of a request to an endpoint that gives no sign of life. The request may have been
// carried out. It is a timeout to those who ask for [net.Error].
type NoAnswerError struct {
	// Endpoint is the base URL.
	Endpoint string
	// Err is what became of the question for a sign of life.
	Err error
}

func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("endpoint %s does not answer: %v", e.Endpoint, e.Err)
}

// Unwrap returns what became of the question for a sign of life.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// Timeout is true: see [net.Error].
func (e *NoAnswerError) Timeout() bool { return true }

// Temporary is true: the next request goes to another endpoint.
func (e *NoAnswerError) Temporary() bool { return true }

// endpoints sends requests to the endpoint that served last. Where that one refuses, or is silent and gives no sign of
// life, the request goes on to the next one, unless it may have been carried out: a write that was sent is sent once. In
// either case later requests begin at the next one.
type endpoints struct {
	transport http.RoundTripper
	bases     []*url.URL
	// serving is the index of the endpoint to begin with.
	serving atomic.Uint32
}

// useAll lets every client of config use all endpoints, of which there is at least one.
func useAll(config *rest.Config, urls []string) error {
	var bases []*url.URL
	for _, host := range urls {
		one := rest.CopyConfig(config)
		one.Host = host
		base, _, err := rest.DefaultServerUrlFor(one)
		if err != nil {
			return fmt.Errorf("endpoint %s: %w", host, err)
		}
		bases = append(bases, base)
	}
	config.Host = urls[0]
	if len(bases) > 1 {
		// Each client learns for itself who serves.
		config.Wrap(func(transport http.RoundTripper) http.RoundTripper {
			return &endpoints{transport: transport, bases: bases}
		})
	}
	return nil
}

// RoundTrip implements [http.RoundTripper]. r is addressed to the first endpoint.
func (e *endpoints) RoundTrip(r *http.Request) (*http.Response, error) {
	begin := e.serving.Load()
	var failed error
	for i := range e.bases {
		turn := (begin + uint32(i)) % uint32(len(e.bases)) //nolint:gosec // the API allows 16
		if i > 0 && !rewind(r) {
			break
		}
		answer, sent, err := e.send(r, e.bases[turn])
		if err == nil {
			return answer, nil
		}
		failed = err
		if errors.Is(r.Context().Err(), context.Canceled) {
			break // nobody wants the answer any more, which says nothing about the endpoint
		}
		e.serving.CompareAndSwap(turn, (turn+1)%uint32(len(e.bases))) //nolint:gosec // as above
		if r.Context().Err() != nil || sent && r.Method != http.MethodGet && r.Method != http.MethodHead {
			break
		}
	}
	return nil, failed
}

// rewind prepares r to be sent again, and says whether it can be.
func rewind(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	r.Body = body
	return err == nil
}

// send sends r to one endpoint, and says whether anything of it may have arrived there.
func (e *endpoints) send(r *http.Request, base *url.URL) (answer *http.Response, sent bool, err error) {
	var connected atomic.Bool
	ctx, cancel := context.WithCancelCause(r.Context())
	out := r.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	out.Host, out.URL = "", e.at(base, r.URL)
	answered := make(chan struct{})
	go e.attend(ctx, answered, out, base, cancel)
	answer, err = e.transport.RoundTrip(out)
	close(answered)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && r.Context().Err() == nil {
			err = cause
		}
		cancel(nil)
		return nil, connected.Load(), err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		answer.Body = &body{ReadCloser: answer.Body, cancel: cancel}
	}
	return answer, true, nil
}

// at is the address at base of what client names at the first endpoint.
func (e *endpoints) at(base, client *url.URL) *url.URL {
	out := *client
	out.Scheme, out.Host = base.Scheme, base.Host
	if own, other := strings.TrimSuffix(e.bases[0].Path, "/"), strings.TrimSuffix(base.Path, "/"); own != other {
		escaped := other + strings.TrimPrefix(client.EscapedPath(), own)
		out.Path, out.RawPath = other+strings.TrimPrefix(client.Path, own), escaped
	}
	return &out
}

// attend gives a request up when it was not answered and its endpoint gives no sign of life. It ends with answered.
func (e *endpoints) attend(ctx context.Context, answered <-chan struct{}, r *http.Request, base *url.URL, giveUp context.CancelCauseFunc) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-answered:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := e.alive(ctx, r, base); err != nil {
			giveUp(&NoAnswerError{Endpoint: base.String(), Err: err})
			return
		}
		timer.Reset(patience)
	}
}

// alive asks an endpoint for a sign of life, as the one who asks for r. Any answer is one.
func (e *endpoints) alive(ctx context.Context, r *http.Request, base *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	address := &url.URL{Scheme: base.Scheme, Host: base.Host, Path: strings.TrimSuffix(base.Path, "/") + signPath}
	question := (&http.Request{Method: http.MethodGet, URL: address, Header: http.Header{}}).WithContext(ctx)
	if own := r.Header.Values("Authorization"); len(own) > 0 {
		question.Header["Authorization"] = own
	}
	answer, err := e.transport.RoundTrip(question)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// body is an answer's body that ends its request with it.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
