package robustness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	firstSeed      = flag.Uint64("seed", 0, "what is drawn in the first run; 0 draws it")
	seeds          = flag.Int("seeds", 1, "how many runs, with seeds that follow one another")
	stageNames     = flag.String("stages", "join", "changes of the ring, one after another: join, leave, weights")
	faultNames     = flag.String("faults", "kill,router,direct", "what breaks: kill, router, crash, stop, cell, pause, abort, direct, random")
	stepsDisturbed = flag.Int("steps", 4, "at how many of the named steps something breaks; 0 for all")
	clients        = flag.Int("clients", 16, "how many write at once")
	names          = flag.Int("names", 320, "how many names objects have")
	rate           = flag.Int("rate", 15, "units that begin to move in a second")
)

const firstCells = 2

// proof is one run.
type proof struct {
	*traffic
	breaker *breaker
	faults  []fault
	moving  map[string]bool // keys that move at some time

	ctx      context.Context // of all that watches and writes
	watching sync.WaitGroup
	shown    []*watcher // through routers
	inCells  []*watcher
}

// TestRebalance has clients write while the ring changes and things break, and judges what they saw.
func TestRebalance(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(rand.Uint32()) + 1
	}
	for n := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed+n), func(t *testing.T) {
			t.Logf("to repeat: go test ./test/robustness -run TestRebalance -v -args -seed %d -stages %s -faults %q -steps %d -clients %d -names %d -rate %d",
				seed+n, *stageNames, *faultNames, *stepsDisturbed, *clients, *names, *rate)
			prove(t, seed+n, int(n))
		})
	}
}

func prove(t *testing.T, seed uint64, round int) {
	b := newBed(t, firstCells)
	defer b.keep(seed)
	ctx, cancel := context.WithCancel(t.Context())
	p := &proof{
		traffic: &traffic{bed: b, keys: allKeys(*names)}, moving: map[string]bool{}, ctx: ctx, faults: parseFaults(*faultNames),
		breaker: &breaker{bed: b, random: rand.New(rand.NewPCG(seed, 0))},
	}
	defer p.watching.Wait()
	defer cancel()
	for _, a := range append(b.allCells(), b.through...) {
		p.follow(a)
	}
	p.fill(ctx, *clients)
	p.underLoad(seed, func() {
		for i, stage := range strings.Split(*stageNames, ",") {
			p.stage(stage, round+i)
		}
	})
	p.judge()
	t.Logf("%s judged", p.clock())
}

// follow watches all kinds in one place until the run has ended.
func (p *proof) follow(a access) {
	begin := func(w *watcher, to *[]*watcher) {
		*to = append(*to, w)
		p.watching.Go(func() { w.run(p.ctx) })
	}
	for _, kind := range kinds() {
		if strings.HasPrefix(a.name, "router") {
			begin(p.watch(a, kind, false), &p.shown)
			begin(p.watch(a, kind, true), &p.shown)
		} else {
			begin(p.watch(a, kind, false), &p.inCells)
		}
	}
}

// underLoad does something while all clients write, and returns when the last of their requests is answered.
func (p *proof) underLoad(seed uint64, do func()) {
	stopping, stop := context.WithCancel(p.ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() { p.traffic.run(p.ctx, stopping, *clients, seed) })
	working.Go(func() { p.keepListing(stopping) })
	working.Go(func() { p.keepPolling(stopping) })
	working.Go(func() { p.keepBurying(stopping) })
	if slices.Contains(p.faults, bypass) {
		working.Go(func() { p.keepBypassing(p.ctx, stopping, seed) })
	}
	sleep(p.ctx, time.Second) // of ordinary work, to have something to lose
	do()
	sleep(p.ctx, time.Second)
}
