package router

import (
	"net/http"
	"time"
)

// unread is how much of an answer is kept for a client that reads nothing, in bytes: net/http's own buffer. A write of more may
// wait for the client.
const unread = 4 << 10

// timedAnswer gives up a client that takes too long to read a whole answer: it holds room that others need. How long the
// answer takes to be made does not count. Small answers cost it nothing.
type timedAnswer struct {
	http.ResponseWriter
	// allowed is how long all writes together may wait for the client.
	allowed time.Duration
	// limit has what is left of that; nil until a write may have to wait.
	limit   *writeLimit
	written int
}

func (a *timedAnswer) Write(data []byte) (int, error) {
	if a.written += len(data); a.written <= unread {
		return a.ResponseWriter.Write(data)
	}
	defer a.waits()()
	return a.ResponseWriter.Write(data)
}

// FlushError is what [http.ResponseController] looks for.
func (a *timedAnswer) FlushError() error {
	defer a.waits()()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap is how it finds everything else.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// waits counts the time from now until it is told that the wait is over.
func (a *timedAnswer) waits() (over func()) {
	if a.limit == nil {
		a.limit = newWriteLimit(http.NewResponseController(a.ResponseWriter), a.allowed)
	}
	a.limit.begin()
	began := time.Now()
	return func() {
		a.limit.end()
		a.limit.limit -= time.Since(began)
	}
}

// lastStep is the answer to something that others wait for. That is done when the answer begins: nobody waits for the
// client to read it.
type lastStep struct {
	http.ResponseWriter
	done func()
}

func (s *lastStep) WriteHeader(code int) {
	if code >= http.StatusOK {
		s.end()
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *lastStep) Write(data []byte) (int, error) {
	s.end()
	return s.ResponseWriter.Write(data)
}

// Unwrap is how [http.ResponseController] finds what it needs.
func (s *lastStep) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// end says that it is done, also where there is no answer.
func (s *lastStep) end() {
	if s.done != nil {
		s.done()
		s.done = nil
	}
}
