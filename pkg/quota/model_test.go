package quota_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubecell/kubectl-cell/pkg/quota"
)

// world is a federation of which every step can be taken at any moment: cells that admit and count, and actors that
// divide the quota, each stopped between any two of its requests, for ever or for long.
type world struct {
	random  *rand.Rand
	now     time.Time
	whole   int64
	record  *quota.Record
	version int
	cells   []*cell
	actors  []*actor
}

// cell is the copy of a quota in one cell, with the version by which all writes of it are conditional.
type cell struct {
	name              string
	version           int
	generation        int64
	spec, hard, count int64
}

// actor is one Settle, as the requests that it has still to make.
type actor struct {
	w       *world
	need    *quota.Need
	seen    []cell
	record  *quota.Record
	version int
	next    *quota.Record
	steps   []func() bool
}

const limited = corev1.ResourcePods

func amount(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.DecimalSI) }

func pods(n int64) corev1.ResourceList { return corev1.ResourceList{limited: amount(n)} }

// begin plans the actor's requests anew: the copies one by one, the record, the write of it, and then for each cell
// the copy and its status.
func (a *actor) begin() {
	a.seen = nil
	a.steps = nil
	for _, c := range a.w.cells {
		a.steps = append(a.steps, func() bool { a.seen = append(a.seen, *c); return true })
	}
	a.steps = append(a.steps,
		func() bool { a.record, a.version = a.w.record, a.w.version; return true },
		a.write)
}

// write makes the record that is to be, over the one that was read.
func (a *actor) write() bool {
	cells := make([]quota.Cell, len(a.seen))
	for i, c := range a.seen {
		cells[i] = quota.Cell{
			Name: c.name, Weight: 100, Reached: true, Generation: c.generation,
			Enforced: pods(c.hard), Used: pods(c.count),
		}
	}
	a.next = quota.Plan("uid", pods(a.w.whole), a.record, cells, a.need, a.w.now).Record
	if !a.next.Equal(a.record) {
		if a.version != a.w.version {
			return false
		}
		a.w.record = a.next
		a.w.version++
	}
	for i, c := range a.w.cells {
		a.steps = append(a.steps, func() bool { return a.state(c, a.seen[i].version) }, func() bool { return a.enforce(c) })
	}
	return true
}

// state writes the part into the copy that was read.
func (a *actor) state(c *cell, over int) bool {
	part := a.next.Of(c.name)
	if part.Generation < a.seenOf(c).generation {
		return false
	}
	limit := part.Limit[limited]
	if c.generation == part.Generation && c.spec == limit.Value() {
		return true
	}
	if c.version != over {
		return false
	}
	c.generation, c.spec = part.Generation, limit.Value()
	c.version++
	return true
}

func (a *actor) seenOf(c *cell) cell {
	for _, seen := range a.seen {
		if seen.name == c.name {
			return seen
		}
	}
	return cell{}
}

// enforce writes the limit of the copy into its status, as does the cell's own quota controller: read and written at
// once here, since the write is conditional.
func (a *actor) enforce(c *cell) bool {
	c.controller()
	return true
}

func (c *cell) controller() {
	if c.hard != c.spec {
		c.hard = c.spec
		c.version++
	}
}

// step takes one step of the world.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.random.Int64N(int64(quota.HoldFor / 20))))
	c := w.cells[w.random.IntN(len(w.cells))]
	switch w.random.IntN(10) {
	case 0, 1, 2:
		if c.count < c.hard {
			c.count++
			c.version++
		}
	case 3:
		if c.count > 0 && w.random.IntN(2) == 0 {
			c.count--
			c.version++
		}
	case 4:
		c.controller()
	default:
		w.actors[w.random.IntN(len(w.actors))].step()
	}
}

func (a *actor) step() {
	if len(a.steps) == 0 {
		a.need = nil
		if n := a.w.random.IntN(len(a.w.cells) + 1); n < len(a.w.cells) {
			a.need = &quota.Need{Cell: a.w.cells[n].name, Requested: pods(1 + a.w.random.Int64N(2))}
		}
		a.begin()
	}
	do := a.steps[0]
	a.steps = a.steps[1:]
	if !do() {
		a.begin() // a conflict: read everything again
	}
}

// check is the promise.
func (w *world) check(t *testing.T) {
	t.Helper()
	used, hard, bound := int64(0), int64(0), int64(0)
	for _, c := range w.cells {
		used, hard = used+c.count, hard+c.hard
		if w.record != nil {
			b := w.record.Of(c.name).Bound[limited]
			bound += b.Value()
		}
	}
	if used > w.whole || hard > w.whole || bound > w.whole {
		t.Fatalf("of %d are used %d; the cells admit %d, the record allows %d: %s", w.whole, used, hard, bound, w.record)
	}
}

// TestThePartsNeverExceedTheWhole lets several actors divide a quota at once, each stopped anywhere, while the cells
// admit and forget: at no step is more used, or admitted, than the whole. In the end whatever is left can be had in
// any cell.
func TestThePartsNeverExceedTheWhole(t *testing.T) {
	for seed := range uint64(400) {
		w := &world{random: rand.New(rand.NewPCG(seed, 7)), now: now()}
		w.whole = w.random.Int64N(12)
		for i := range 2 + w.random.IntN(3) {
			w.cells = append(w.cells, &cell{name: fmt.Sprintf("cell-%d", i+1)})
		}
		for range 1 + w.random.IntN(4) {
			w.actors = append(w.actors, &actor{w: w})
		}
		for range 600 {
			w.step()
			w.check(t)
		}
		w.fill(t, seed)
	}
}

// fill uses up what is left, all in one cell.
func (w *world) fill(t *testing.T, seed uint64) {
	t.Helper()
	last := w.cells[len(w.cells)-1]
	for {
		left := w.whole
		for _, c := range w.cells {
			left -= c.count
		}
		if left == 0 {
			return
		}
		a := &actor{w: w, need: &quota.Need{Cell: last.name, Requested: pods(1)}}
		for rounds := 0; last.count >= last.hard; rounds++ {
			if rounds == 4 {
				t.Fatalf("seed %d: %d are left, and %s cannot get one: %s", seed, left, last.name, w.record)
			}
			for a.begin(); len(a.steps) > 0; {
				do := a.steps[0]
				a.steps = a.steps[1:]
				if !do() {
					t.Fatalf("seed %d: a conflict with nobody", seed)
				}
				w.check(t)
			}
		}
		last.count++
		last.version++
		w.check(t)
	}
}
