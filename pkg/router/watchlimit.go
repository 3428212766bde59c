package router

import (
	"net/http"
	"time"
)

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

func newLimitedWriter(w http.ResponseWriter, limit time.Duration) *limitedWriter {
	control := http.NewResponseController(w)
	return &limitedWriter{ResponseWriter: w, control: control, limit: newWriteLimit(control, limit)}
}

// FlushError is what [http.ResponseController] looks for.
func (w *limitedWriter) FlushError() error {
	err := w.control.Flush()
	w.limit.end()
	return err
}

// writeLimit ends the answer of a client that does not take what is written to it. The deadline of HTTP/2 ends
// a stream when it passes, even where nothing is being written, and setting it is a message to the connection's
// goroutine, twice for each event: here it is set when it has passed. Not every connection has deadlines; where
// it has none, a client that reads nothing is dropped by its pings.
type writeLimit struct {
	timer   *time.Timer
	limit   time.Duration
	running bool
}

func newWriteLimit(control *http.ResponseController, limit time.Duration) *writeLimit {
	timer := time.AfterFunc(limit, func() { _ = control.SetWriteDeadline(time.Now()) })
	timer.Stop()
	return &writeLimit{timer: timer, limit: limit}
}

// begin starts the time of a write, unless it runs.
func (l *writeLimit) begin() {
	if !l.running {
		l.running = true
		l.timer.Reset(l.limit)
	}
}

// end stops the time: everything is written.
func (l *writeLimit) end() {
	l.running = false
	l.timer.Stop()
}
