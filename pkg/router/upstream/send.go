package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
)

// Changes are what to send in the place of what the client sent.
type Changes struct {
	// Query replaces the query where it is not nil.
	Query *string
	// Header replaces headers by name; nil takes one away.
	Header http.Header
	// Body replaces the body where it is not nil.
	Body []byte
}

// Send sends the client's request as the user in its context, and returns the answer, whose body the
// caller closes. A request that is no stream ends, with its body, after a minute.
func (c *ControlPlane) Send(r *http.Request, changes Changes) (*http.Response, error) {
	header, err := outgoingHeader(r)
	if err != nil {
		return nil, err
	}
	for name, values := range changes.Header {
		if values == nil {
			delete(header, name)
			continue
		}
		header[name] = values
	}
	query := r.URL.RawQuery
	if changes.Query != nil {
		query = *changes.Query
	}
	ctx, cancel := r.Context(), context.CancelFunc(nil)
	if !streams(r, query) {
		ctx, cancel = within(ctx, requestTimeout)
	}
	ctx, span := c.span(ctx, r.Method, header)
	out := (&http.Request{
		Method: r.Method, Header: header, ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query},
	}).WithContext(ctx)
	switch {
	case changes.Body != nil:
		setBody(out, changes.Body)
	case r.Body != nil && r.Body != http.NoBody:
		out.Body, out.ContentLength = unclosed{r.Body}, r.ContentLength
	}
	began := time.Now()
	answer, err := c.roundTrip(out)
	endSpan(span, answer, err)
	metrics.From(r.Context()).Waited(c.name, time.Since(began))
	if err == nil {
		if err = refusedCredentials(r, answer); err != nil {
			err = errors.Join(err, answer.Body.Close())
		}
	}
	if err != nil {
		if cancel != nil {
			cancel()
		}
		return nil, err
	}
	if cancel != nil {
		answer.Body = &bounded{ReadCloser: answer.Body, cancel: cancel}
	}
	return answer, nil
}

// Do sends a request of the router's own making as the user in its context. path and query in r.URL
// are those of the API; the caller closes the answer's body.
func (c *ControlPlane) Do(r *http.Request) (*http.Response, error) {
	// Of the client's headers only these; of Connection nothing is left that could take one off.
	header := http.Header{}
	for _, name := range []string{"Accept", "User-Agent", "Content-Type", "Audit-Id", "Traceparent", "Tracestate"} {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	out := r.WithContext(r.Context())
	out.Header = header
	return c.Send(out, Changes{})
}

// roundTrip sends r, whose URL has path and query alone, to one endpoint after the other until one has
// it. Where its headers say nobody's name, it is sent with the router's own rights.
func (c *ControlPlane) roundTrip(r *http.Request) (*http.Response, error) {
	if down := c.down.Load(); down != nil {
		return nil, down
	}
	path, raw, query := r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	var failed error
	turn := int(c.next.Add(1))
	tried := 0
	for _, wanted := range [...]bool{false, true} { // those that are up, then the others
		for i := range c.endpoints {
			e := c.endpoints[(turn+i)%len(c.endpoints)]
			if e.down.Load() != wanted || tried == len(c.endpoints) {
				continue
			}
			tried++
			r.URL = e.target(path, raw, query)
			answer, err := e.roundTrip(r)
			if err == nil {
				return answer, nil
			}
			failed = err
			if !c.again(r, e, err) {
				return nil, c.reason(r, failed)
			}
		}
	}
	return nil, c.reason(r, failed)
}

// ownRoundTrip sends a request of one of the router's own clients, within [ownTimeout].
func (c *ControlPlane) ownRoundTrip(r *http.Request) (*http.Response, error) {
	if watches(r.URL.Path, r.URL.RawQuery) {
		return c.roundTrip(r)
	}
	ctx, cancel := within(r.Context(), ownTimeout)
	answer, err := c.roundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	answer.Body = &bounded{ReadCloser: answer.Body, cancel: cancel}
	return answer, nil
}

// within ends after a time, for that reason.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
}

// again says whether r may be sent to another endpoint, and prepares it for that.
func (c *ControlPlane) again(r *http.Request, e *endpoint, err error) bool {
	if r.Context().Err() != nil || len(c.endpoints) == 1 {
		return false
	}
	sent := !NotSent(err)
	if !sent {
		// Until a probe says otherwise; nobody else has to find out the hard way.
		e.down.Store(true)
	}
	if sent && r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if r.GetBody != nil {
		body, err := r.GetBody()
		r.Body = body
		return err == nil
	}
	return !sent || r.Body == nil
}

// reason is what to say of a request that failed: where the control plane was given up meanwhile, that.
func (c *ControlPlane) reason(r *http.Request, err error) error {
	if late := context.Cause(r.Context()); errors.Is(err, context.DeadlineExceeded) && late != nil {
		err = fmt.Errorf("%w: %w", late, err)
	}
	down := c.down.Load()
	if down == nil || NotSent(err) {
		return err
	}
	return &cutOffError{down: down, err: err}
}

// cutOffError is the failure of a request that was in flight when its control plane was given up.
type cutOffError struct {
	down *DownError
	err  error
}

func (e *cutOffError) Error() string { return e.down.Error() }
func (e *cutOffError) Unwrap() error { return e.err }

func (e *endpoint) roundTrip(r *http.Request) (*http.Response, error) {
	rt := e.single
	if watches(r.URL.Path, r.URL.RawQuery) {
		rt = e.stream
	}
	answer, err := rt.RoundTrip(r)
	if err == nil {
		e.answered.Store(time.Now().UnixNano())
		e.answers.Add(1)
	}
	return answer, err
}

// target is the URL of a path of the API at this endpoint.
func (e *endpoint) target(path, raw, query string) *url.URL {
	out := &url.URL{Scheme: e.base.Scheme, Host: e.base.Host, Path: path, RawPath: raw, RawQuery: query}
	if e.prefix != "" {
		escaped := out.EscapedPath()
		out.Path, out.RawPath = e.prefix+path, e.prefix+escaped
	}
	return out
}

// streams says whether an answer may go on for ever, by an apiserver's own rule.
func streams(r *http.Request, query string) bool {
	switch subresource(r) {
	case "log", "exec", "attach", "portforward", "proxy":
		return true
	}
	return watches(r.URL.Path, query)
}

// subresource is what the filters found in the request's path.
func subresource(r *http.Request) string {
	if info, ok := request.RequestInfoFrom(r.Context()); ok {
		return info.Subresource
	}
	return ""
}

// watches recognises a watch by its query, as an apiserver does, or by the old form of its path.
func watches(path, query string) bool {
	if strings.Contains(query, "watch") {
		values, _ := url.ParseQuery(query) // an apiserver takes what can be read, too
		if watch, ok := values["watch"]; ok && watch[0] != "0" && !strings.EqualFold(watch[0], "false") {
			return true
		}
	}
	return watchPath(path)
}

// watchPath recognises /api/VERSION/watch/… and /apis/GROUP/VERSION/watch/…. Further back, watch is the name of something.
func watchPath(path string) bool {
	before := 1
	rest, ok := strings.CutPrefix(path, "/api/")
	if !ok {
		before = 2
		if rest, ok = strings.CutPrefix(path, "/apis/"); !ok {
			return false
		}
	}
	parts := strings.SplitN(rest, "/", before+2)
	return len(parts) == before+2 && parts[before] == "watch"
}

func setBody(r *http.Request, data []byte) {
	r.ContentLength = int64(len(data))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	r.Body = io.NopCloser(bytes.NewReader(data))
	if len(data) == 0 {
		r.Body, r.GetBody = http.NoBody, nil
	}
}

// unclosed is a client's body. The transport closes what it could not send; the server does so anyway,
// and another endpoint may still want it.
type unclosed struct{ io.Reader }

func (unclosed) Close() error { return nil }

// bounded is an answer's body that ends its request's time limit with it.
type bounded struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *bounded) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
