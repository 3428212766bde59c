package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// plane is a control plane as a source sees it: it keeps its events and serves them from any position.
type plane struct {
	name string
	slot int

	mu sync.Mutex
	// The rest is guarded by mu.
	log     []string // one frame a version, from version 1 on
	changed chan struct{}
	open    []*io.PipeWriter
	down    bool
	// compacted is the oldest position from which a watch can begin.
	compacted int64
	// frozen planes accept watches and send nothing.
	frozen bool
}

func newPlane(slot int) *plane {
	// Every control plane has written something of its own before anybody watches.
	own := frame("BOOKMARK", "", 1, "")
	return &plane{name: fmt.Sprintf("cell-%d", slot), slot: slot, changed: make(chan struct{}), log: []string{own}}
}

// write makes an event and returns its version.
func (p *plane) write(kind, name string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := int64(len(p.log) + 1)
	p.log = append(p.log, frame(kind, name, v, ""))
	p.notify()
	return v
}

func (p *plane) bookmark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, frame("BOOKMARK", "", int64(len(p.log)+1), ""))
	p.notify()
}

func (p *plane) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plane) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.notify()
}

// cut breaks all open watches off.
func (p *plane) cut() {
	p.set(func() {
		for _, w := range p.open {
			_ = w.CloseWithError(io.ErrUnexpectedEOF)
		}
		p.open = nil
	})
}

func frame(kind, name string, v int64, annotations string) string {
	metadata := fmt.Sprintf(`"resourceVersion":"%d"`, v)
	if name != "" {
		metadata = fmt.Sprintf(`"name":%q,`, name) + metadata
	}
	if annotations != "" {
		metadata += `,"annotations":` + annotations
	}
	return fmt.Sprintf(`{"type":%q,"object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{%s}}}`+"\n", kind, metadata)
}

// source watches the plane from a position, or from what exists.
func (p *plane) source(t *testing.T, position int64) Source {
	t.Helper()
	s := Source{Name: p.name, Slot: p.slot, Position: position, Marked: true, Open: p.watch}
	first, err := p.watch(t.Context(), position)
	if err != nil && position == 0 {
		t.Fatal(err)
	}
	s.First = first
	return s
}

func (p *plane) watch(ctx context.Context, position int64) (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return nil, io.ErrClosedPipe
	case position > 0 && position < p.compacted:
		return nil, ErrExpired
	}
	r, w := io.Pipe()
	p.open = append(p.open, w)
	go p.serve(ctx, w, position)
	return r, nil
}

func (p *plane) serve(ctx context.Context, w *io.PipeWriter, position int64) {
	if position == 0 {
		p.mu.Lock()
		var out strings.Builder
		for _, f := range p.log {
			if !strings.Contains(f, "BOOKMARK") {
				out.WriteString(f)
			}
		}
		position = int64(len(p.log))
		out.WriteString(frame("BOOKMARK", "", position, `{"k8s.io/initial-events-end":"true"}`))
		p.mu.Unlock()
		if _, err := io.WriteString(w, out.String()); err != nil {
			return
		}
	}
	for {
		p.mu.Lock()
		var next string
		if position < int64(len(p.log)) && !p.frozen {
			next = p.log[position]
		}
		changed := p.changed
		p.mu.Unlock()
		if next == "" {
			select {
			case <-ctx.Done():
				_ = w.CloseWithError(ctx.Err())
				return
			case <-changed:
			}
			continue
		}
		if _, err := io.WriteString(w, next); err != nil {
			return
		}
		position++
	}
}

// client is what a stream's client has read.
type client struct {
	t      *testing.T
	events chan string // "TYPE name version", versions of bookmarks as "1/2/3"
	end    chan struct{}
	finish func()
	cancel context.CancelFunc
	// change is sent to the stream.
	change chan Change
}

// run runs a stream and reads it.
func run(t *testing.T, config Config) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ending := make(chan struct{})
	c := &client{
		t: t, events: make(chan string, 10000), end: make(chan struct{}), cancel: cancel,
		finish: sync.OnceFunc(func() { close(ending) }), change: make(chan Change),
	}
	config.Format = wire.JSON
	config.Ending, config.Changes = ending, c.change
	if config.Judge == nil {
		config.Judge = func(string, wire.Meta) (Kind, int64) { return Shown, 0 }
	}
	if config.Journal == nil {
		config.Journal = &Journal{}
	}
	if config.Write == nil {
		config.Write = func([]byte) error { return nil }
	}
	write := config.Write
	config.Write = func(f []byte) error {
		c.events <- describe(t, f)
		return write(f)
	}
	config.Flush = func() error { return nil }
	go func() {
		defer close(c.end)
		if err := Run(ctx, config); err != nil && ctx.Err() == nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-c.end })
	return c
}

func describe(t *testing.T, f []byte) string {
	e, err := wire.NewFrameReader(wire.JSON, bytes.NewReader(f)).Next()
	if err != nil {
		t.Errorf("frame %s: %v", f, err)
		return ""
	}
	switch e.Type {
	case "ERROR":
		return "ERROR " + string(e.Object[bytes.Index(e.Object, []byte(`"reason"`)):bytes.Index(e.Object, []byte(`,"code"`))])
	case "BOOKMARK":
		end := ""
		if e.Meta.InitialEventsEnd {
			end = " end"
		}
		return "BOOKMARK " + vector(t, e.Meta.ResourceVersion) + end
	}
	return e.Type + " " + e.Meta.Name + " " + e.Meta.ResourceVersion
}

// vector writes the positions of slots 1 and up.
func vector(t *testing.T, s string) string {
	v, err := version.Parse(s)
	if err != nil || v.Vector == nil {
		t.Errorf("%s is no vector: %v", s, err)
		return s
	}
	return strings.Trim(fmt.Sprint([]int64(v.Vector[1:])), "[]")
}

func (c *client) next() string {
	c.t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-c.end:
		select {
		case e := <-c.events:
			return e
		default:
			return "the end"
		}
	case <-time.After(time.Minute):
		c.t.Fatal("nothing came for a minute")
		return ""
	}
}

func (c *client) expect(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		got = append(got, c.next())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("the client reads (-want +got):\n%s", diff)
	}
}

func TestEventsOfAllSourcesComeStamped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		a.write("ADDED", "old")
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 2), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		c.expect("ADDED x 3001")
		b.write("ADDED", "y")
		c.expect("ADDED y 2002", "BOOKMARK 3 2")
		a.write("DELETED", "x")
		c.expect("DELETED x 4001", "BOOKMARK 4 2")
		c.finish()
		c.expect("the end")
	})
}

func TestInitialEventsComeByNameAndEndOnceAfterAllSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		a.write("ADDED", "x")
		b.write("ADDED", "v")
		b.write("ADDED", "y")
		c := run(t, Config{Bookmarks: true, InitialEnd: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		c.expect("ADDED v 2002", "ADDED x 2001", "ADDED y 3002", "BOOKMARK 2 3 end")
		a.bookmark()
		c.expect("BOOKMARK 3 3")
	})
}

func TestASourceThatBreaksOffGoesOnWhereItStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		c.expect("ADDED x 2001")
		a.cut()
		a.set(func() { a.down = true })
		a.write("MODIFIED", "x")
		b.write("ADDED", "y")
		c.expect("ADDED y 2002") // while a is down
		a.set(func() { a.down = false })
		c.expect("MODIFIED x 3001")
	})
}

func TestAPositionThatIsTooOldEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.set(func() { a.compacted = 100 })
		a.cut()
		c.expect(`ERROR "reason":"Expired"`, "the end")
	})
}

// A source that breaks off among its initial events cannot go on, and must not be taken for whole.
func TestInitialEventsThatBreakOffEndTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlane(1)
		r, w := io.Pipe()
		broken := Source{Name: "cell-2", Slot: 2, First: r, Marked: true, Open: newPlane(2).watch}
		c := run(t, Config{Bookmarks: true, InitialEnd: true, Sources: []Source{a.source(t, 0), broken}})
		if _, err := io.WriteString(w, frame("ADDED", "half", 5, "")); err != nil {
			t.Fatal(err)
		}
		c.expect("ADDED half 5002")
		_ = w.CloseWithError(io.ErrUnexpectedEOF)
		c.expect("the end")
	})
}

func TestAGoodbyeSaysWhereTheStreamStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		c.expect("ADDED x 2001")
		c.finish()
		c.expect("BOOKMARK 2 1", "the end")
	})
}

func TestCopiesAreNotShownAndStillMoveThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlane(1)
		hidden := func(_ string, m wire.Meta) (Kind, int64) {
			if m.Name == "copy" {
				return Hidden, 0
			}
			return Shown, 0
		}
		c := run(t, Config{Bookmarks: true, Judge: hidden, Sources: []Source{a.source(t, 1)}})
		a.write("ADDED", "copy")
		c.expect("BOOKMARK 2")
	})
}

func TestWithoutBookmarksNoneComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlane(1)
		c := run(t, Config{Sources: []Source{a.source(t, 0)}})
		synctest.Wait()
		a.bookmark()
		a.write("ADDED", "x")
		c.expect("ADDED x 3001")
		time.Sleep(10 * bookmarkDelay) // synctest's clock: long enough for any bookmark
		c.finish()
		c.expect("the end")
	})
}

func TestCellsJoinLeaveAndFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, joins := newPlane(1), newPlane(2), newPlane(3)
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		joins.write("ADDED", "before")
		c.change <- Change{Add: []Source{joins.source(t, 2)}}
		joins.write("ADDED", "after")
		c.expect("ADDED after 3003", "BOOKMARK 1 1 3")
		b.write("ADDED", "last")
		c.expect("ADDED last 2002", "BOOKMARK 1 2 3")
		c.change <- Change{Remove: map[string]int64{b.name: 2}}
		synctest.Wait()
		b.write("ADDED", "gone")
		a.write("ADDED", "here")
		c.expect("ADDED here 2001", "BOOKMARK 2 9999999999999 3")
		c.change <- Change{Expire: true}
		c.expect(`ERROR "reason":"Expired"`, "the end")
	})
}

// A cell that comes back after it has left, as one whose joining was aborted, would have bookmarks go back.
func TestACellThatComesBackEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		b.write("ADDED", "last")
		c.expect("ADDED last 2002")
		c.change <- Change{Remove: map[string]int64{b.name: 2}}
		synctest.Wait()
		a.write("ADDED", "here")
		c.expect("ADDED here 2001", "BOOKMARK 2 9999999999999")
		c.change <- Change{Add: []Source{b.source(t, 2)}}
		c.expect(`ERROR "reason":"Expired"`, "the end")
	})
}

// A slow client holds up its own stream, and its sources are not read ahead of it.
func TestASlowClientHoldsUpItsSourcesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlane(1)
		release := make(chan struct{})
		slow := run(t, Config{Sources: []Source{a.source(t, 0)}, Write: func([]byte) error { <-release; return nil }})
		fast := run(t, Config{Sources: []Source{a.source(t, 0)}})
		synctest.Wait()
		for i := range 100 {
			a.write("ADDED", fmt.Sprint("o", i))
		}
		for range 100 {
			fast.next()
		}
		synctest.Wait()
		if n := len(slow.events); n != 1 {
			t.Errorf("%d events were written to a client that takes none", n)
		}
		close(release)
		for range 100 {
			slow.next()
		}
	})
}

// A stream that is busy still sees that it has to end, and says where it stands.
func TestABusyStreamSeesItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		slow := func([]byte) error { time.Sleep(time.Millisecond); return nil }
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0), b.source(t, 0)}, Write: slow})
		synctest.Wait()
		const many = 3000
		for i := range many {
			a.write("ADDED", fmt.Sprint("a", i))
			b.write("ADDED", fmt.Sprint("b", i))
		}
		c.next()
		c.finish()
		<-c.end
		var last string
		n := 0
		for ; len(c.events) > 0; n++ {
			last = c.next()
		}
		if n > 10*batch || !strings.HasPrefix(last, "BOOKMARK") {
			t.Errorf("%d events came after the end, the last is %s", n, last)
		}
	})
}

// What ends each time at once is asked again with pauses that grow.
func TestASourceThatEndsAtOnceIsNotAskedWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int64
		ends := func(context.Context, int64) (io.ReadCloser, error) {
			opened.Add(1)
			return io.NopCloser(strings.NewReader("")), nil
		}
		run(t, Config{Sources: []Source{{Name: "cell-1", Slot: 1, Position: 5, Open: ends}}})
		time.Sleep(time.Minute) // synctest's clock
		if n := opened.Load(); n < 5 || n > 60 {
			t.Errorf("it was opened %d times in a minute", n)
		}
	})
}

func TestEventsThatCannotBeReadEndTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garbage := func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(`{"type":"ADDED","object":{"metadata":{"resourceVersion":"none"}}}`)), nil
		}
		c := run(t, Config{Sources: []Source{{Name: "cell-1", Slot: 1, Position: 5, Open: garbage}}})
		c.expect("the end")
	})
}

// The last source that was waited for leaves: the initial events have ended.
func TestInitialEventsEndWhenASourceLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPlane(1), newPlane(2)
		a.write("ADDED", "x")
		r, _ := io.Pipe()
		silent := Source{Name: b.name, Slot: 2, First: r, Marked: true, Open: b.watch}
		c := run(t, Config{Bookmarks: true, InitialEnd: true, Sources: []Source{a.source(t, 0), silent}})
		synctest.Wait()
		c.change <- Change{Remove: map[string]int64{b.name: 1}}
		c.expect("ADDED x 2001", "BOOKMARK 2 9999999999999 end")
	})
}

// closing is a watch that knows whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// A source that joins and is read already, or joins a stream that ends, was opened for nothing.
func TestWhatIsNotReadIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newPlane(1)
		c := run(t, Config{Bookmarks: true, Sources: []Source{a.source(t, 0)}})
		synctest.Wait()
		joins := func(slot int) (Source, *closing) {
			first := &closing{Reader: strings.NewReader("")}
			return Source{Name: fmt.Sprintf("cell-%d", slot), Slot: slot, Position: 1, First: first}, first
		}
		known, again := joins(1)
		c.change <- Change{Add: []Source{known}}
		synctest.Wait()
		if !again.closed {
			t.Error("a watch of a source that is read already stays open")
		}
		late, opened := joins(2)
		c.change <- Change{Add: []Source{{Name: "cell-3", Slot: 3, Position: 1}, late}, Expire: true}
		c.expect(`ERROR "reason":"Expired"`, "the end")
		if !opened.closed {
			t.Error("a watch that joins at the end stays open")
		}
	})
}
