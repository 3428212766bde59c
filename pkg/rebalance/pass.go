package rebalance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// pass moves the units of one search. One goroutine, serve, decides what begins; each unit in flight has a
// goroutine, which ends with the unit and says so on ended.
//
//	lanes (ready, waiting) ──next──▶ in flight ──ended──▶ moved, or back to waiting
type pass struct {
	*run
	mover atomic.Pointer[migration.Mover]
	// adopting is held to change some cells of mover.
	adopting sync.Mutex
	// marked has the time.Time since when a unit refuses writes, by its name.
	marked sync.Map
	// flipped has the units that have passed the flip of an object in this pass, by their names.
	flipped sync.Map
	ended   chan outcome
	// superseded: the Ring is in another epoch. Nothing begins any more; what waits for its barrier is undone.
	superseded atomic.Bool
	// changed has a token when superseded was set from outside.
	changed chan struct{}
	// heard has a token when routers that were silent have acknowledged again.
	heard chan struct{}

	// The rest is serve's alone.
	lanes    []*lane
	left     int // units that have not moved
	inFlight int
	throttle *throttle
	looked   time.Time // when the throttle looked last
	pacer    pacer
	wish     v1alpha1.RebalanceSpec
	// generation is that of wish.
	generation int64
	// limit is the one that the units were chosen by.
	limit *v1alpha1.RebalanceLimit
	// toStep is how many units of the present step have not begun; negative before a step.
	toStep int32
	// halting: a pause was asked for by the driver itself and is not written yet.
	halting bool
	asked   time.Time // when it was tried last to write that
	// silent: a router does not acknowledge. Nothing is closed to writes for it meanwhile: no unit begins, and those that
	// were begun with are undone.
	silent bool
}

// outcome is the end of one attempt.
type outcome struct {
	*task
	result  migration.Result
	blocked time.Duration
}

// barrierOf has the barrier be for an epoch. Nothing is in flight.
func (r *run) barrierOf(epoch int64) {
	r.barrier.pass = func(ctx context.Context) error { return r.pass(ctx, epoch) }
}

func newPass(r *run, mover *migration.Mover, found *migration.Found) *pass {
	p := &pass{
		run: r, ended: make(chan outcome), changed: make(chan struct{}), heard: make(chan struct{}, 1),
		throttle: newThrottle(), toStep: -1,
	}
	r.barrierOf(mover.Epoch)
	p.adopt(mover)
	lanes := map[pair]*lane{}
	add := func(unit migration.Unit, stray bool) {
		at := pair{unit.From, unit.To}
		if lanes[at] == nil {
			lanes[at] = &lane{pair: at}
			p.lanes = append(p.lanes, lanes[at])
		}
		t := &task{unit: unit, order: p.left, stray: stray, begun: unit.Marked(), lane: lanes[at]}
		lanes[at].ready = append(lanes[at].ready, t)
		p.left++
	}
	for _, unit := range found.Strays {
		add(unit, true)
	}
	for _, unit := range found.Units {
		add(unit, false)
	}
	p.wish, p.generation, _ = r.wishes.newest()
	p.throttle.want(unlimited(&p.wish))
	if !p.wish.Paused {
		r.tracker.condition(v1alpha1.ConditionHealthy, true, "Healthy", "")
	}
	return p
}

// barred is the barrier of the mover. It fails where the RCP does not answer, which is told.
func (p *pass) barred(ctx context.Context) error {
	err := p.run.barrier.wait(ctx)
	switch {
	case err == nil:
		p.tracker.answered()
	case errors.Is(err, errSuperseded):
		p.superseded.Store(true)
	case ctx.Err() == nil && !errors.Is(err, errSilent):
		p.complain(err)
	}
	return err
}

// adopt moves by other connections from now on.
func (p *pass) adopt(mover *migration.Mover) {
	mover.Barrier = p.barred
	mover.Step = p.tookStep
	p.mover.Store(mover)
}

// reconnect makes new connections to two cells, as far as they are in the ring. Others may be down meanwhile: what moves
// between these does not need them.
func (p *pass) reconnect(ctx context.Context, between pair) error {
	names := slices.DeleteFunc([]string{between.from, between.to}, p.mover.Load().Left)
	cells, err := p.fleet.connect(ctx, names)
	var unusable *cellsError
	switch {
	case errors.As(err, &unusable):
		p.logger.Warn("units between two cells cannot go on, trying again", "err", err)
		p.tracker.asked(names, unusable.problems)
		return err
	case err != nil:
		p.complain(err)
		return err
	}
	p.tracker.asked(names, nil)
	p.adopting.Lock()
	defer p.adopting.Unlock()
	mover := *p.mover.Load()
	mover.Cells = maps.Clone(mover.Cells)
	maps.Copy(mover.Cells, cells)
	p.adopt(&mover)
	return nil
}

// serve returns when all units have moved, with errTurn when the run is aborted and none is half moved, or
// when ctx ends; what it can open to writes then it opens.
func (p *pass) serve(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	leaving := p.Leaving
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go p.watchEpoch(watching, p.mover.Load().Epoch) // ends with serve
	for {
		now := time.Now()
		changed := p.follow(now)
		wake := p.beginAll(ctx, now)
		if done, err := p.over(ctx, now); done {
			return err
		}
		timer.Reset(wake.Sub(now))
		select {
		case <-ctx.Done():
			for p.inFlight > 0 {
				p.take(<-p.ended, time.Now())
			}
			p.letGo(ctx)
			return context.Cause(ctx)
		case o := <-p.ended:
			wasSilent := p.silent
			if p.take(o, time.Now()); p.silent && !wasSilent {
				go p.listenToRouters(watching) // ends with serve
			}
		case <-p.heard:
			p.silent = false
		case <-changed:
		case <-p.changed:
		case <-leaving:
			leaving = nil // it is looked at in each round
		case <-timer.C:
		}
	}
}

// over says whether there is nothing to wait for.
func (p *pass) over(ctx context.Context, now time.Time) (bool, error) {
	if p.inFlight > 0 {
		return false, nil
	}
	switch {
	case p.superseded.Load():
		return true, errSuperseded
	case p.left == 0:
		return true, nil
	case p.turns() && !slices.ContainsFunc(p.lanes, (*lane).half):
		return true, errTurn
	case p.Driver.left() && !slices.ContainsFunc(p.lanes, (*lane).half):
		return true, ErrLeft
	case !sameLimit(p.run.limit(), p.limit) && !slices.ContainsFunc(p.lanes, (*lane).half):
		return true, nil // the next search goes by the other one
	case p.wish.Paused && !p.turns():
		p.tracker.phase(v1alpha1.RebalancePaused)
	case (p.toStep == 0 || p.halting) && !p.turns():
		p.halt(ctx, now)
	}
	return false, nil
}

// follow takes the newest wishes over, and looks at the cells.
func (p *pass) follow(now time.Time) <-chan struct{} {
	wish, generation, changed := p.wishes.newest()
	if p.wish.Paused && !wish.Paused {
		// Somebody has looked at what failed: it counts anew.
		p.halting = false
		p.tracker.forgive()
		p.tracker.condition(v1alpha1.ConditionHealthy, true, "Healthy", "")
		for _, l := range p.lanes {
			l.rush(now)
		}
	}
	if wish.Step == 0 || wish.Paused || wish.Step != p.wish.Step {
		p.toStep = -1
	}
	p.wish, p.generation = wish, generation
	p.throttle.want(unlimited(&wish))
	if now.Sub(p.looked) >= adaptEvery {
		p.looked = now
		loads := p.fleet.loads()
		p.tracker.latency(loads)
		p.throttle.look(loads, now)
	}
	p.tracker.window(p.throttle)
	if !wish.Paused && !p.stopping() {
		p.tracker.phase(p.moving())
	}
	return changed
}

func (p *pass) moving() v1alpha1.RebalancePhase {
	if p.known().Status.Aborting {
		return v1alpha1.RebalanceAborting
	}
	return v1alpha1.RebalanceMoving
}

// stopping says whether only units that were begun with may begin.
func (p *pass) stopping() bool {
	return p.wish.Paused || p.halting || p.turns() || p.Driver.left() || !sameLimit(p.run.limit(), p.limit)
}

// beginAll begins what may begin, and says when to look again.
func (p *pass) beginAll(ctx context.Context, now time.Time) (wake time.Time) {
	wake = now.Add(adaptEvery)
	if ctx.Err() != nil || p.superseded.Load() {
		return wake
	}
	if p.toStep < 0 && p.wish.Step > 0 && !p.stopping() {
		p.toStep = p.throttle.now
	}
	for int32(p.inFlight) < p.throttle.now {
		stopping := p.stopping() || p.silent
		if !stopping {
			if p.toStep == 0 {
				break
			}
			if ready, at := p.pacer.ready(p.wish.Rate, now); !ready {
				return earlier(wake, at)
			}
		}
		t := p.next(now, stopping)
		if t == nil {
			break
		}
		if !stopping {
			p.pacer.took(p.wish.Rate, now)
			if p.toStep > 0 {
				p.toStep--
			}
		}
		p.begin(ctx, t)
	}
	for _, l := range p.lanes {
		if at := l.wakes(now, p.stopping() || p.silent); !at.IsZero() {
			wake = earlier(wake, at)
		}
	}
	return wake
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// next takes the unit that is first in order among those that may begin. Units that failed come before.
func (p *pass) next(now time.Time, begun bool) *task {
	var best *lane
	for _, l := range p.lanes {
		first := l.peek(now, begun)
		if first != nil && (best == nil || first.order < best.peek(now, begun).order) {
			best = l
		}
	}
	if best == nil {
		return nil
	}
	return best.next(now, begun)
}
