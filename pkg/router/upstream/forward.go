package upstream

import (
	"io"
	"net/http"
	"net/http/httputil"
)

// copySize of the buffers in which answers pass, in bytes.
const copySize = 32 << 10

// ServeHTTP forwards r as the user in its context and passes the answer on as it comes.
func (c *ControlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		if _, err := outgoingHeader(r); err != nil {
			c.respond(w, r, c.name, err)
			return
		}
		c.upgrade.ServeHTTP(w, r)
		return
	}
	answer, err := c.Send(r, Changes{})
	if err != nil {
		c.respond(w, r, c.name, err)
		return
	}
	c.Pass(w, answer)
}

// refusedCredentials returns [ErrCredentials] for a control plane's 401: it is about the router's own
// credentials there, and not for the client. What a workload behind a proxy subresource says is.
func refusedCredentials(r *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusUnauthorized || subresource(r) == "proxy" {
		return nil
	}
	return ErrCredentials
}

// Pass sends an answer on as it comes, and closes it. One that breaks off breaks the client's off, too: it
// panics with [http.ErrAbortHandler].
func (c *ControlPlane) Pass(w http.ResponseWriter, answer *http.Response) {
	defer answer.Body.Close()
	CopyHeader(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	if answer.ContentLength == 0 || answer.Body == http.NoBody {
		return
	}
	var flush func() error
	if answer.ContentLength < 0 {
		// A stream, or a long answer: what has come is passed on at once.
		flush = http.NewResponseController(w).Flush
		_ = flush()
	}
	if err := c.copyBody(w, answer.Body, flush); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// CopyHeader takes over what an answer says of itself. Warnings are added to those of the router.
func CopyHeader(to, from http.Header) {
	for name, values := range from {
		switch {
		case hopByHop(name):
		case name == "Warning":
			to[name] = append(to[name], values...)
		default:
			to[name] = values
		}
	}
}

func (c *ControlPlane) copyBody(w io.Writer, body io.Reader, flush func() error) error {
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			if _, err := w.Write((*buffer)[:n]); err != nil {
				return err
			}
			if flush != nil {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// upgrader forwards what takes its connection over: SPDY and WebSocket.
func (c *ControlPlane) upgrader() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			header, err := outgoingHeader(p.In)
			if err != nil {
				// ServeHTTP has asked before.
				panic(http.ErrAbortHandler)
			}
			if _, span := c.span(p.In.Context(), p.In.Method, header); span != nil {
				span.End() // a stream lasts
			}
			header["Connection"], header["Upgrade"] = p.Out.Header["Connection"], p.Out.Header["Upgrade"]
			p.Out.Header, p.Out.Host = header, ""
		},
		Transport:     roundTripper(func(r *http.Request) (*http.Response, error) { return c.roundTrip(r) }),
		FlushInterval: -1,
		ModifyResponse: func(answer *http.Response) error {
			return refusedCredentials(answer.Request, answer)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			c.respond(w, r, c.name, err)
		},
	}
}
