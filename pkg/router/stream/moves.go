package stream

import (
	"context"
	"sync"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// arrivalLimit is how long the end of the initial events waits for objects that are about to arrive.
	arrivalLimit = 5 * time.Second
	// lookups is how many objects that moved are looked for at once.
	lookups = 8
)

// Kind is what an object is to a stream.
type Kind int

const (
	// Hidden objects do not count in the source that sent them.
	Hidden Kind = iota
	// Shown objects do.
	Shown
	// Leaving objects count as long as no event of the same object has come from where it moves to.
	Leaving
	// Arrived objects are those: whatever the other source tells of them from then on is older.
	Arrived
	// Moved objects are tombstones: the source has nothing more to tell of them.
	Moved
	// Departed objects do not count in the source any more, and nothing says that they have moved: where one was
	// deleted it may be that it did count.
	Departed
)

// moves is what a stream knows of objects on the move. Sources are read at their own pace, so that one may tell of
// an object after the other one has told what became of it.
type moves struct {
	// arrived are the objects that were shown from where they move to, with a rank that grows with each move.
	arrived map[string]int64
	// recalled are the objects, by source, of which it is known what was before the stream began: true where one had left
	// the source and was nowhere else.
	recalled map[string]bool
	// missing are those that were tombstones when the stream began and that have not arrived: the initial events
	// are not complete without them.
	missing map[string]wire.Meta
	// gone are told of those that exist no more.
	gone chan string
}

func nameOf(o wire.Meta) string { return o.Namespace + "/" + o.Name }

// stale says whether something newer was shown of the object.
func (m *moves) stale(o wire.Meta, rank int64) bool {
	shown, there := m.arrived[nameOf(o)]
	return there && rank < shown
}

// recall takes down what was elsewhere before the stream began.
func (m *moves) recall(key string, o wire.Meta, rank int64, gone bool) {
	if m.recalled == nil {
		m.recalled = map[string]bool{}
	}
	m.recalled[key] = gone
	if rank > 0 {
		m.arrive(nameOf(o), rank)
	}
}

func (m *moves) arrive(name string, rank int64) {
	if m.arrived == nil {
		m.arrived = map[string]int64{}
	}
	m.arrived[name] = rank
}

// note takes down what an event of that kind says; initial is set where it tells what exists.
func (m *moves) note(o wire.Meta, kind Kind, rank int64, initial bool) {
	if kind == Hidden || len(m.arrived) == 0 && len(m.missing) == 0 && (kind == Shown || kind == Leaving) {
		return
	}
	name := nameOf(o)
	switch kind {
	case Arrived:
		delete(m.missing, name)
		if rank == 0 {
			return // it has never moved
		}
		m.arrive(name, rank)
	case Moved:
		_, there := m.arrived[name]
		if initial && !there {
			if m.missing == nil {
				m.missing = map[string]wire.Meta{}
			}
			m.missing[name] = o
		}
		delete(m.arrived, name)
	case Shown:
		delete(m.arrived, name) // it has settled
		delete(m.missing, name)
	}
}

// look finds out which of the missing objects exist no more. It tells of the others by telling nothing: they will
// arrive. In the end, or after arrivalLimit, gone is closed.
func (m *moves) look(ctx context.Context, running *sync.WaitGroup, exists func(context.Context, wire.Meta) bool) {
	gone := make(chan string) // m may be another one by the time somebody is told
	m.gone = gone
	missing := make(chan wire.Meta, len(m.missing))
	for _, o := range m.missing {
		missing <- o
	}
	close(missing)
	running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, arrivalLimit)
		defer cancel()
		var looking sync.WaitGroup
		for range min(lookups, len(missing)) {
			looking.Go(func() {
				for o := range missing {
					if exists(ctx, o) {
						continue
					}
					select {
					case gone <- nameOf(o):
					case <-ctx.Done():
					}
				}
			})
		}
		looking.Wait()
		<-ctx.Done()
		close(gone)
	})
}
