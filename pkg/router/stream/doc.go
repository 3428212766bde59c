// Package stream makes one watch of the watches of several control planes.
//
//	source (one goroutine for each control plane)        merger (one goroutine)
//	open ─▶ read frames ─▶ replace resource versions ──▶ order ─▶ position ─▶ write
//	  ▲                                         │
//	  └── reopen where it stood, when it ends ──┘
//
// The merger alone knows the position of the stream and alone writes, so that what a bookmark says has
// been sent has been sent. A source is never further ahead of the merger than a few events: a slow client
// holds up its own stream and nothing else.
//
// Invariants. Each source's events are written in its order, each once. A source that breaks off is opened
// again where it stood, without the client noticing; where that is not possible any more the stream ends
// with 410. A stream never says that it stands anywhere before all of its sources have said so.
//
// Streams of the same scope (resource, namespace and selectors) write the events of different control
// planes in one order, the one in which the first of them wrote: see [Journal].
//
// It knows nothing of HTTP, of placement or of requests. Start at [Run].
package stream

import (
	"context"
	"errors"
	"io"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// ErrExpired is returned by Source.Open where the position is too old. The stream ends with 410, and the
// client lists again.
var ErrExpired = errors.New("the position is too old")

// errUnreadable is the end of a source whose events cannot be read: to open it again would change nothing.
var errUnreadable = errors.New("its events cannot be read")

// ErrRefused is returned by Source.Open where the control plane will not serve the watch any more. The
// stream ends, and the client learns why when it asks again.
var ErrRefused = errors.New("the watch is refused")

// Source is one control plane's part of a stream.
type Source struct {
	// Name of the control plane.
	Name string
	// Slot is its place in a [version.Vector].
	Slot int
	// Position is where the client stands: the first event is the one after it. 0 means that the client does
	// not know: then the events begin with what exists, up to a bookmark that ends the initial events.
	Position int64
	// Marked is set where the control plane says by a bookmark when its initial events have ended. Those of all
	// such sources are written in the order of an apiserver's own, by namespace and name.
	Marked bool
	// First is the watch as it was opened for the request; nil where it could not be and Position is known.
	First io.ReadCloser
	// Open opens the watch anew at a position. Errors other than [ErrExpired] and [ErrRefused] are taken for
	// passing ones.
	Open func(ctx context.Context, position int64) (io.ReadCloser, error)
}

// Close ends the watch of a source that nobody reads.
func (s *Source) Close() {
	if s.First != nil {
		_ = s.First.Close()
	}
}

// Config is what a stream needs.
type Config struct {
	Format  wire.Format
	Sources []Source
	// NoObjects is set where the client wants Tables whose rows have no objects. The sources send metadata all the same:
	// a row alone does not say whose it is. A bookmark has its object all the same, as an apiserver's.
	NoObjects bool
	// Judge says what an object is to the stream, and for one on the move its rank, which grows with each move.
	Judge func(source string, object wire.Meta) (Kind, int64)
	// Exists says whether an object that has moved is where it moved to. It may be nil where nothing moves.
	Exists func(ctx context.Context, object wire.Meta) bool
	// Vanished says whether an object that was deleted where it is Departed exists nowhere. After an error the stream
	// ends with 410. It may be nil where nothing is Departed.
	Vanished func(object wire.Meta) (bool, error)
	// Past may be nil where nothing moves.
	Past Past
	// Bookmarks is set where the client takes bookmarks.
	Bookmarks bool
	// InitialEnd is set where the client waits for the bookmark that ends the initial events.
	InitialEnd bool
	// Inexact is set where the client asked for another position than that of the sources, so that it has yet
	// to be told where it stands.
	Inexact bool
	// Reader is who reads the stream.
	Reader string
	// Journal orders the streams of this scope.
	Journal *Journal
	// Write writes one frame; Flush sends what was written. An error of either ends the stream.
	Write func(frame []byte) error
	Flush func() error
	// Wrote is told of each frame that was written; it may be nil.
	Wrote func()
	// Ending ends the stream, after a last bookmark.
	Ending <-chan struct{}
	// Changes are what happens to the set of sources; the channel may be nil.
	Changes <-chan Change
}

// Change is what becomes of a stream when the ring changes.
type Change struct {
	// Add are sources that joined, each with a known position.
	Add []Source
	// Remove are the sources that leave, by name, with the positions up to which they may tell of something that
	// counted. They are read so far, and where that takes too long the stream ends with 410.
	Remove map[string]int64
	// Expire ends the stream with 410: clients must list again.
	Expire bool
	// Settled is set when nothing moves any more.
	Settled bool
}

// position is a stream's place in all of its sources. One that has left stands at [Left].
type position = version.Vector

// Left is where a source stands that has left the stream and had nothing more to tell.
const Left = version.MaxRaw
