package stream

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// bookmarkDelay is how soon after an event a client that takes bookmarks is told where it stands. A
	// client that loses its connection goes on from there.
	bookmarkDelay = 250 * time.Millisecond
	// batch is how many items are taken before the stream looks at anything else: its end, a bookmark that is
	// due, changes of the ring.
	batch = 64
	// leaveLimit is how long a source that leaves may take to come to where it has nothing more to tell. A quiet one
	// tells where it stands about once a minute.
	leaveLimit = 3 * time.Minute
)

// merger writes one stream; order.go has which item is next. All of its fields belong to the goroutine of [Run].
type merger struct {
	Config
	sources map[int]*source // by slot
	items   chan *item
	// arrived are the sources of the queued items, in the order of their arrival.
	arrived []*source
	// at is where the stream stands: the position behind the last item that was written or passed over.
	at position
	// next is the number of the journal's entry that this stream has to write next.
	next int
	// told is the position of the last bookmark; dirty is true where at is beyond it.
	told  string
	dirty bool
	// awaiting are the sources whose initial events have not ended.
	awaiting int
	ended    bool // whether the end bookmark was written
	headed   bool // whether an object was written: the first Table defines the columns
	// apiVersion and kind of the objects, once an event has told.
	apiVersion, kind string
	// held runs while an event waits for that of another source, due while a bookmark is to be written.
	held, due *time.Timer
	// leaving runs while a source leaves.
	leaving          *time.Timer
	holding, waiting bool
	wrote            bool // whether there is something to flush
	follow           func(*source)
	moves            moves
	// search looks for what is missing of the initial events.
	search func()
}

// errDone ends a stream cleanly.
var errDone = errors.New("the stream has ended")

// Run writes the stream until the client or the server ends it, or it cannot go on. What the client is to
// be told it has been told then; the error is that of Write or Flush, if that was the reason.
func Run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	m := &merger{Config: config, sources: map[int]*source{}, items: make(chan *item), held: stoppedTimer(), due: stoppedTimer(), leaving: stoppedTimer()}
	m.follow = func(s *source) {
		var its context.Context
		its, s.stop = context.WithCancel(ctx)
		running.Go(func() { s.run(its) })
	}
	m.search = func() { m.moves.look(ctx, &running, m.Exists) }
	for _, s := range config.Sources {
		m.add(s)
	}
	m.next = config.Journal.join()
	if m.awaiting == 0 && !config.Inexact {
		m.told = m.at.String()
	}
	err := m.run(ctx)
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func (m *merger) add(s Source) {
	src := newSource(s, m.Format, m.items)
	src.noObjects = m.NoObjects
	m.sources[s.Slot] = src
	m.at.Set(s.Slot, s.Position)
	if s.Position == 0 {
		m.awaiting++
	}
	m.follow(src)
}

func (m *merger) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case i := <-m.items:
			m.take(i)
			if err := m.drain(false); err != nil {
				return err
			}
		case <-m.held.C:
			if err := m.drain(true); err != nil {
				return err
			}
		case <-m.due.C:
			m.waiting, m.dirty = false, false
			if err := m.bookmark(); err != nil {
				return err
			}
		case <-m.leaving.C:
			if m.anyLeaves() {
				return m.expire()
			}
		case name, more := <-m.moves.gone:
			if err := m.missed(name, more); err != nil {
				return err
			}
		case c := <-m.Changes:
			if err := m.change(c); err != nil {
				return err
			}
		case <-m.Ending:
			return m.goodbye()
		}
	}
}

// drain writes what can be written and flushes when no more is waiting. late says that an event has
// waited long enough for that of another source.
func (m *merger) drain(late bool) error {
	for range batch {
		if err := m.emit(late); err != nil {
			return err
		}
		late = false
		select {
		case i := <-m.items:
			m.take(i)
			continue
		default:
		}
		break
	}
	if err := m.emit(false); err != nil { // the last that was taken, where the batch is full
		return err
	}
	if m.dirty && !m.waiting && m.Bookmarks && m.awaiting == 0 {
		m.due.Reset(bookmarkDelay)
		m.waiting = true
	}
	return m.flush()
}

func (m *merger) write(frame []byte) error {
	m.wrote = true
	if err := m.Write(frame); err != nil {
		return err
	}
	if m.Wrote != nil {
		m.Wrote()
	}
	return nil
}

func (m *merger) flush() error {
	if !m.wrote {
		return nil
	}
	m.wrote = false
	return m.Flush()
}

// shows says whether the client gets the item as an event of its own.
func (m *merger) shows(i *item) bool {
	if i.vanished {
		return true
	}
	switch i.kind {
	case watch.Added, watch.Modified, watch.Deleted:
		switch kind, rank := m.Judge(i.from.Name, i.object); kind {
		case Shown:
			return true
		case Leaving, Arrived:
			return !m.moves.stale(i.object, rank)
		}
	case watch.Error:
		return true
	}
	return false
}

// send writes an item, or notes what it says, and moves the position on.
func (m *merger) send(i *item) error {
	s := i.from
	switch {
	case s.left:
		return nil
	case i.err != nil:
		return m.lost(i.err)
	case i.broken:
		return nil
	case i.mended:
		s.connected = true
		return nil
	case i.kind == watch.Error:
		return m.end(i.frame)
	}
	if i.objectKind != "" {
		m.apiVersion, m.kind = i.apiVersion, i.objectKind
	}
	shown := m.shows(i)
	if i.kind != watch.Bookmark {
		if kind, rank := m.Judge(s.Name, i.object); shown || kind == Moved {
			m.moves.note(i.object, kind, rank, i.initial)
		}
	}
	if shown {
		frame := i.frame
		if m.headed && i.bare != nil {
			frame = i.bare
		}
		m.headed = true
		if err := m.write(frame); err != nil {
			return err
		}
	}
	if i.initial {
		return nil
	}
	if m.at.Raw(s.Slot) == 0 {
		m.awaiting--
	}
	m.at.Set(s.Slot, i.version)
	m.dirty = true
	if s.until != 0 && i.version >= s.until {
		m.leave(s)
	}
	return m.tellInitialEnd()
}

// leave takes a source out of the stream.
func (m *merger) leave(s *source) {
	s.left = true
	s.stop()
	delete(m.sources, s.Slot)
	if m.at.Raw(s.Slot) == 0 {
		m.awaiting--
	}
	m.at.Set(s.Slot, Left)
	m.dirty = true
}

// hasLeft says whether a source comes back that the client was told has left: its place cannot go back to where it was.
func (m *merger) hasLeft(s Source) bool { return m.at.Raw(s.Slot) == Left }

func (m *merger) anyLeaves() bool {
	for _, s := range m.sources {
		if s.until != 0 {
			return true
		}
	}
	return false
}

// tellInitialEnd writes the bookmark that ends the initial events, once those of all sources have ended.
func (m *merger) tellInitialEnd() error {
	if !m.InitialEnd || m.ended || m.awaiting > 0 {
		return nil
	}
	if len(m.moves.missing) > 0 {
		if m.moves.gone == nil {
			m.search()
		}
		return nil
	}
	m.ended = true
	return m.writeBookmark(true)
}

// missed notes that a missing object exists no more, or, at the end, that the others have not come in time: whoever
// lists them finds them.
func (m *merger) missed(name string, more bool) error {
	if more {
		delete(m.moves.missing, name)
	} else {
		m.moves.missing, m.moves.gone = nil, nil
	}
	return errors.Join(m.tellInitialEnd(), m.flush())
}

// lost ends the stream because a source cannot go on.
func (m *merger) lost(err error) error {
	switch {
	case errors.Is(err, ErrExpired):
		return m.expire()
	case errors.Is(err, ErrRefused):
		return m.goodbye()
	}
	// The client has part of the initial events and knows it, since their end was not told.
	return m.end(nil)
}

// end writes a last frame, if there is one, and ends the stream.
func (m *merger) end(last []byte) error {
	if last != nil {
		if err := m.write(last); err != nil {
			return err
		}
	}
	return errors.Join(m.flush(), errDone)
}

// expire ends the stream with 410, as an apiserver ends one that it cannot continue.
func (m *merger) expire() error {
	status, err := m.Format.AppendStatus(nil, metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusGone,
		Reason:  metav1.StatusReasonExpired,
		Message: "too old resource version: a cell does not know it any more, or the cells have changed",
	})
	if err != nil {
		return err
	}
	return m.end(m.Format.AppendEvent(nil, string(watch.Error), status))
}

func (m *merger) change(c Change) error {
	if c.Expire || slices.ContainsFunc(c.Add, m.hasLeft) {
		for _, s := range c.Add {
			s.Close()
		}
		return m.expire()
	}
	for _, s := range c.Add {
		known := m.sources[s.Slot]
		if known == nil {
			m.add(s)
			continue
		}
		known.until = 0 // it has not left yet, and stays
		s.Close()
	}
	for slot, s := range m.sources {
		until, leaves := c.Remove[s.Name]
		switch at := m.at.Raw(slot); {
		case !leaves:
		case at == 0 || at >= until:
			m.leave(s)
		default:
			s.until = until
			m.leaving.Reset(leaveLimit)
		}
	}
	if c.Settled {
		m.moves = moves{missing: m.moves.missing, gone: m.moves.gone}
	}
	if err := m.tellInitialEnd(); err != nil {
		return err
	}
	return m.drain(false)
}

// bookmark tells the client where it stands, unless it knows.
func (m *merger) bookmark() error {
	if !m.Bookmarks || m.awaiting > 0 || m.InitialEnd && !m.ended || m.kind == "" || m.at.String() == m.told {
		return nil
	}
	if err := m.writeBookmark(false); err != nil {
		return err
	}
	return m.flush()
}

func (m *merger) writeBookmark(initialEnd bool) error {
	m.told = m.at.String()
	object := m.Format.Bookmark(m.apiVersion, m.kind, m.told, initialEnd)
	return m.write(m.Format.AppendEvent(nil, string(watch.Bookmark), object))
}

// goodbye ends the stream where it stands, so that the client can go on from there elsewhere.
func (m *merger) goodbye() error {
	return errors.Join(m.bookmark(), errDone)
}
