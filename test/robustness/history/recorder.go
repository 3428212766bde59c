package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder collects what happens, under one clock. It may be used by many at once.
type Recorder struct {
	start time.Time

	mu      sync.Mutex // guards what follows
	ops     []Op
	streams []*Stream
	rounds  []Round
	// suspensions of drivers.
	suspensions []Suspension
}

// NewRecorder starts the clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now is the time of the clock.
func (r *Recorder) Now() int64 { return int64(time.Since(r.start)) }

// Do runs one operation between its call and its return, and keeps it. do fills in the answer.
func (r *Recorder) Do(op Op, do func(*Op)) Op {
	op.Call = r.Now()
	do(&op)
	if op.Return = r.Now(); op.Outcome == Unknown {
		op.Return = Never
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	return op
}

// Add keeps operations whose times the caller has set.
func (r *Recorder) Add(ops ...Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, ops...)
}

// Since are the operations that were kept after the first n.
func (r *Recorder) Since(n int) []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops[n:])
}

// AddRound keeps a round of a poller.
func (r *Recorder) AddRound(round Round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rounds = append(r.rounds, round)
}

// AddSuspension keeps what a driver did that was suspended.
func (r *Recorder) AddSuspension(s Suspension) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspensions = append(r.suspensions, s)
}

// Stream makes a stream that is part of the record.
func (r *Recorder) Stream(name string) *Stream {
	s := &Stream{name: name, clock: r}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams = append(r.streams, s)
	return s
}

// Record is what a Recorder has so far.
type Record struct {
	Ops     []Op
	Streams []Told
	Rounds  []Round
	// Suspensions are of drivers.
	Suspensions []Suspension
}

// Record copies what there is.
func (r *Recorder) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Record{Ops: slices.Clone(r.ops), Rounds: slices.Clone(r.rounds), Suspensions: slices.Clone(r.suspensions)}
	for _, s := range r.streams {
		out.Streams = append(out.Streams, s.Told())
	}
	return out
}
