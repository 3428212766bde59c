package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// window is what is held of a stream: the bytes that were read from it and not yet consumed.
type window struct {
	r    io.Reader
	buf  []byte
	from int
	// frugal is true for a stream that may say nothing for hours: it begins with frameWindow, and goes back to
	// that from anything larger than frameKept.
	frugal bool
}

const (
	// windowSize is how much is asked of a stream at once, in bytes.
	windowSize = 64 << 10
	// frameWindow is how much is asked of a frugal one, in bytes. A router holds one for each source of each watch.
	frameWindow = 4 << 10
	// frameKept is the largest window that a frugal one holds between objects, in bytes: most objects fit, so
	// that a busy watch does not begin anew with each.
	frameKept = 16 << 10
)

func (w *window) unread() []byte { return w.buf[w.from:] }

// more reads at least one byte more. What was returned by unread before is not valid any more. The end of the stream
// is io.EOF.
func (w *window) more() error {
	if len(w.unread()) > MaxObject {
		return errLarge
	}
	size := windowSize
	if w.frugal {
		size = frameWindow
	}
	switch {
	case w.frugal && cap(w.buf) > frameKept && len(w.unread()) < size:
		w.buf = append(make([]byte, 0, size), w.unread()...)
	case w.from > 0:
		w.buf = w.buf[:copy(w.buf, w.unread())]
	}
	w.from = 0
	if len(w.buf) == cap(w.buf) {
		w.buf = slices.Grow(w.buf, max(size, len(w.buf)))
	}
	n, err := io.ReadAtLeast(w.r, w.buf[len(w.buf):cap(w.buf)], 1)
	w.buf = w.buf[:len(w.buf)+n]
	return err
}

// parse consumes what read reads, and asks for more of the stream until that is complete. read may be called several
// times, each time from the start. A stream that ends before is io.ErrUnexpectedEOF.
//
// It waits for half as much again before the next attempt, so that the work stays linear in the size of an object.
func (w *window) parse(read func(*scanner) error) error {
	for {
		s := scanner{data: w.unread()}
		err := read(&s)
		if !errors.Is(err, errShort) {
			w.from += s.pos
			return err
		}
		want := len(s.data) + len(s.data)/2
		for ended := false; !ended && (len(w.unread()) <= len(s.data) || len(w.unread()) < want); {
			err := w.more()
			switch {
			case err == nil:
			case errors.Is(err, io.EOF) && len(w.unread()) > len(s.data):
				ended = true // with what came meanwhile it may be complete
			case errors.Is(err, io.EOF):
				return io.ErrUnexpectedEOF
			default:
				return err
			}
		}
	}
}

// atEnd consumes white space and says whether nothing but that is left of the stream.
func (w *window) atEnd() (bool, error) {
	for {
		rest := bytes.TrimLeft(w.unread(), " \t\r\n")
		w.from = len(w.buf) - len(rest)
		if len(rest) > 0 {
			return false, nil
		}
		if err := w.more(); errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
}

// skimmer finds the end of an object in pieces, looking at each byte once.
type skimmer struct {
	depth             int
	inString, escaped bool
}

// skim looks at the next piece and returns where in it the object ends, 0 where it goes on.
func (k *skimmer) skim(piece []byte) int {
	for i, c := range piece {
		switch {
		case k.escaped:
			k.escaped = false
		case k.inString:
			k.inString, k.escaped = c != '"', c == '\\'
		case c == '"':
			k.inString = true
		case c == '{' || c == '[':
			k.depth++
		case c == '}' || c == ']':
			if k.depth--; k.depth <= 0 {
				return i + 1
			}
		}
	}
	return 0
}
