package feed

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// settled collects what a Feed acknowledges.
type settled struct {
	mu   sync.Mutex
	seen []Epoch
}

func (s *settled) add(e Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, e)
}

func (s *settled) last() Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return Epoch{}
	}
	return s.seen[len(s.seen)-1]
}

func TestAnEpochIsAcknowledgedWhenAllEarlierWritesAreFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told settled
		f := &Feed{config: Config{Settled: told.add, Logger: slog.New(slog.DiscardHandler)}}
		state := func(epoch, window int64) *State {
			r := ring()
			r.Status.Epoch, r.Status.Window = epoch, window
			s, err := newState(r, nil, nil, f.State(), upstream.ErrorResponder(noAnswer))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		publish := func(s *State) { f.settle(t.Context(), s, f.publish(s)) }
		expect := func(what string, want Epoch) {
			t.Helper()
			synctest.Wait()
			if got := told.last(); got != want {
				t.Errorf("%s: %v is acknowledged; want %v", what, got, want)
			}
		}
		publish(state(1, 0))
		expect("the first", Epoch{1, 0})

		oldest := f.Begin(Placed)
		publish(state(2, 0))
		expect("a write of epoch 1 is in flight", Epoch{1, 0})
		publish(state(2, 1))
		publish(state(2, 2))
		newest := f.Begin(Placed)
		expect("still, three changes later", Epoch{1, 0})
		if newest.epoch() != (Epoch{2, 2}) {
			t.Errorf("a write begins in %v; want the newest", newest.epoch())
		}
		oldest.End()
		expect("that write is finished", Epoch{2, 2})
		publish(state(3, 2))
		expect("a write of window 2 is in flight", Epoch{2, 2})
		newest.End()
		expect("nothing is in flight", Epoch{3, 2})

		shared := f.Begin(Shared)
		publish(state(3, 3))
		expect("a write to the RCP is in flight", Epoch{3, 3})
		publish(state(4, 3))
		expect("it is in the way of a new epoch", Epoch{3, 3})
		publish(state(4, 4))
		expect("and of a window of that", Epoch{3, 3})
		shared.End()
		expect("it is finished", Epoch{4, 4})
	})
}

// A router that stops keeps its Lease until its writes are finished, in whatever configuration they began.
func TestFinishedWaitsForTheWritesOfAllConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Feed{config: Config{Settled: func(Epoch) {}, Logger: slog.New(slog.DiscardHandler)}}
		f.publish(mustState(t, nil, nil))
		older := f.Begin(Placed)
		f.publish(mustState(t, nil, f.State()))
		newer := f.Begin(Placed)
		if older.State == newer.State {
			t.Fatal("both writes began in one configuration")
		}
		finished := make(chan bool, 1)
		go func() { finished <- f.Finished(t.Context()) }()
		newer.End()
		synctest.Wait()
		if len(finished) > 0 {
			t.Error("finished while a write of the older configuration is not")
		}
		older.End()
		if !<-finished {
			t.Error("not finished when all writes are")
		}
		given, cancel := context.WithCancel(t.Context())
		last := f.Begin(Placed)
		cancel()
		if f.Finished(given) {
			t.Error("finished in spite of a write in flight")
		}
		last.End()
	})
}

func TestWritesThatBeginWhileTheConfigurationChangesAreCounted(t *testing.T) {
	var told settled
	f := &Feed{config: Config{Settled: told.add, Logger: slog.New(slog.DiscardHandler)}}
	var writers sync.WaitGroup
	first := mustState(t, nil, nil)
	f.settle(t.Context(), first, f.publish(first))
	for range 8 {
		writers.Go(func() {
			for range 20_000 {
				s := f.Begin(Placed)
				if e := told.last(); e.Window > s.Snapshot.Window {
					t.Errorf("window %d is acknowledged while a write of window %d is in flight", e.Window, s.Snapshot.Window)
				}
				s.End()
			}
		})
	}
	for window := range int64(500) {
		r := ring()
		r.Status.Window = window + 1
		s, err := newState(r, nil, first.rcp, f.State(), noAnswer)
		if err != nil {
			t.Fatal(err)
		}
		f.settle(t.Context(), s, f.publish(s))
	}
	writers.Wait()
	f.stopped.Wait()
	if got := told.last().Window; got != 500 {
		t.Errorf("window %d is acknowledged in the end; want 500", got)
	}
}
