package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// ahead is how many events of one source may wait for the merger.
	ahead = 4
	// firstDelay and lastDelay bound the wait before a source that broke off is opened again.
	firstDelay = 50 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// errLost is the end of a source that broke off before it had a position to go on from.
var errLost = errors.New("it broke off before its initial events had ended")

// item is what a source tells the merger.
type item struct {
	from *source
	kind watch.EventType
	// frame is the whole event as the client gets it, for ADDED, MODIFIED, DELETED and ERROR.
	frame []byte
	// bare is the frame without the column definitions of its Table, nil where it has none: only the first
	// Table of a stream defines the columns.
	bare []byte
	// object is the one in the frame.
	object wire.Meta
	// version is the object's or bookmark's version in its control plane.
	version int64
	// initial is set on events that tell what exists: they come in no order and are no position.
	initial bool
	// apiVersion and objectKind are those of the object, once for each source.
	apiVersion, objectKind string
	// vanished is set on an event that tells of the end of an object which had departed.
	vanished bool
	// recalled is set where the merger knows what was before the stream began.
	recalled bool
	// err is set on a source's last item, and where the stream cannot go on.
	err error
	// broken and mended say that the source lost its connection and has it again; they carry no event.
	broken, mended bool
}

// isObject says whether it is an event of an object.
func (i *item) isObject() bool {
	return i.kind == watch.Added || i.kind == watch.Modified || i.kind == watch.Deleted
}

// source reads the watch of one control plane. Its goroutine is stopped by the context of the stream.
type source struct {
	Source
	format wire.Format
	out    chan<- *item
	// tokens are the items that may still wait for the merger.
	tokens chan struct{}
	// at is the position behind the last event read; 0 while it is not known.
	at    int64
	typed bool
	table bool // whether the objects are Tables
	// noObjects is that of the Config.
	noObjects bool

	// The rest is the merger's.
	queue     []*item
	connected bool
	// stop ends the goroutine; left is set when the ring has no use for the source any more.
	stop context.CancelFunc
	left bool
	// until is the position at which it leaves, 0 where it stays.
	until int64
}

func newSource(s Source, format wire.Format, out chan<- *item) *source {
	src := &source{Source: s, format: format, out: out, tokens: make(chan struct{}, ahead), at: s.Position, connected: s.First != nil}
	for range ahead {
		src.tokens <- struct{}{}
	}
	return src
}

// run reads until ctx ends or the source cannot go on.
func (s *source) run(ctx context.Context) {
	body := s.First
	delay := firstDelay
	for {
		if body != nil {
			events, err := s.read(ctx, body)
			body = nil
			switch {
			case ctx.Err() != nil:
				return
			case s.at == 0, errors.Is(err, errUnreadable):
				s.deliver(ctx, &item{err: errors.Join(errLost, err)})
				return
			case events > 0:
				delay = firstDelay
			}
			s.deliver(ctx, &item{broken: true})
			// Also where it could be opened: what ends each time at once must not be asked without a pause.
			if pause.For(ctx, delay/2+rand.N(delay)) != nil {
				return
			}
			delay = min(2*delay, lastDelay)
		}
		opened, err := s.Open(ctx, s.at)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = opened.Close()
			}
			return
		case errors.Is(err, ErrExpired), errors.Is(err, ErrRefused):
			s.deliver(ctx, &item{err: err})
			return
		case err == nil:
			body = opened
			s.deliver(ctx, &item{mended: true})
			continue
		}
		// Streams that lost the same control plane must not all come back at the same moment.
		if pause.For(ctx, delay/2+rand.N(delay)) != nil {
			return
		}
		delay = min(2*delay, lastDelay)
	}
}

// read delivers the events of one opened watch. It returns when that ends, and says how many there were.
func (s *source) read(ctx context.Context, body io.ReadCloser) (events int, err error) {
	defer body.Close()
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	frames := wire.NewFrameReader(s.format, body)
	var scratch []byte
	for ; ; events++ {
		event, err := frames.Next()
		if err != nil {
			return events, err
		}
		next, err := s.item(event, &scratch)
		if err != nil {
			return events, fmt.Errorf("%s: %w: %w", s.Name, errUnreadable, err)
		}
		if !s.deliver(ctx, next) {
			return events, ctx.Err()
		}
	}
}

// item makes of an event what the merger needs. scratch is kept from one to the next.
func (s *source) item(event wire.Event, scratch *[]byte) (next *item, err error) {
	next = &item{kind: watch.EventType(event.Type), object: event.Meta}
	if next.kind == watch.Error {
		next.frame = s.format.AppendEvent(nil, event.Type, event.Object)
		return next, nil
	}
	if next.version, err = version.ParseRaw(event.Meta.ResourceVersion); err != nil {
		return nil, err
	}
	if !s.typed {
		if next.apiVersion, next.objectKind, err = s.format.ReadKind(event.Object); err != nil {
			return nil, err
		}
		s.typed, s.table = true, next.objectKind == "Table"
	}
	if next.kind == watch.Bookmark {
		s.at = next.version
		return next, nil
	}
	stamp := ObjectVersion(event.Meta, next.version, s.Slot)
	*scratch, err = s.format.AppendVersioned((*scratch)[:0], event.Object, func(wire.Meta) string { return stamp })
	if err != nil {
		return nil, err
	}
	if s.table && s.noObjects {
		if *scratch, err = s.format.WithoutObjects(*scratch); err != nil {
			return nil, err
		}
	}
	next.frame = s.format.AppendEvent(make([]byte, 0, len(*scratch)+64), event.Type, *scratch)
	if s.table {
		if next.bare, err = s.bareFrame(event.Type, *scratch); err != nil {
			return nil, err
		}
	}
	if next.initial = s.at == 0; !next.initial {
		s.at = next.version
	}
	return next, nil
}

// bareFrame is the event without column definitions, nil where the Table has none.
func (s *source) bareFrame(eventType string, table []byte) ([]byte, error) {
	bare, err := s.format.WithoutColumns(table)
	if err != nil || bare == nil {
		return nil, err
	}
	return s.format.AppendEvent(nil, eventType, bare), nil
}

// ObjectVersion is the version under which the router shows an object of the control plane with that slot.
func ObjectVersion(object wire.Meta, raw int64, slot int) string {
	// An annotation that somebody spoilt must not take the object from view.
	epoch, err := strconv.ParseInt(object.PlacementEpoch, 10, 64)
	if err != nil || epoch < 0 || epoch > version.MaxEpoch {
		epoch = 0
	}
	return version.Object{Epoch: epoch, Raw: raw, Slot: slot}.String()
}

// deliver hands an item to the merger, when there is room. It is false when the stream has ended.
func (s *source) deliver(ctx context.Context, i *item) bool {
	i.from = s
	select {
	case <-ctx.Done():
		return false
	case <-s.tokens:
	}
	select {
	case <-ctx.Done():
		return false
	case s.out <- i:
		return true
	}
}

// head is the source's next item in the merger, nil where there is none.
func (s *source) head() *item {
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[0]
}

// pop takes the head off and lets the source deliver another one.
func (s *source) pop() {
	s.queue = s.queue[1:]
	s.tokens <- struct{}{}
}
