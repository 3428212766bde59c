package migration

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// atOnce is how many objects of one unit are worked at at the same time. All of a unit is closed to writes until its
// last object has moved.
const atOnce = 16

// order sorts the items so that owners come first, and numbers their generations.
func (r *run) order() error {
	if err := ownersFirst(r.items); err != nil {
		return err
	}
	generations := make(map[types.UID]int, len(r.items))
	for _, i := range r.items {
		i.generation = 0
		for _, owner := range i.ownedBy() {
			if n, inside := generations[owner.UID]; inside {
				i.generation = max(i.generation, n+1)
			}
		}
		generations[i.id()] = i.generation
	}
	slices.SortStableFunc(r.items, func(a, b *item) int { return a.generation - b.generation })
	return nil
}

// each does something with all items, those of one generation at once. The error is that of the first item that has
// one; those of the same generation may have been worked at by then.
func (r *run) each(ctx context.Context, do func(context.Context, *item) error) error {
	return r.eachOf(ctx, r.items, do)
}

// eachOf does the same with some of them, in the order of items.
func (r *run) eachOf(ctx context.Context, items []*item, do func(context.Context, *item) error) error {
	for len(items) > 0 {
		n := slices.IndexFunc(items, func(i *item) bool { return i.generation != items[0].generation })
		if n < 0 {
			n = len(items)
		}
		if err := r.together(ctx, items[:n], do); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// together begins no other item once one has failed.
func (r *run) together(ctx context.Context, items []*item, do func(context.Context, *item) error) error {
	if len(items) == 1 {
		return r.one(ctx, items[0], do)
	}
	var failed atomic.Bool
	errs := make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for n, i := range items {
		group.Go(func() error {
			if failed.Load() {
				return nil
			}
			errs[n] = r.one(ctx, i, do)
			if errs[n] != nil {
				failed.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait() // errs has them in order
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) one(ctx context.Context, i *item, do func(context.Context, *item) error) error {
	if err := ctx.Err(); err != nil {
		return judge(&i.Object, r.unit.From, "go on", err)
	}
	return do(ctx, i)
}

// marks marks all objects. Those of which not enough is known are looked at before: what becomes of an object that is being
// deleted depends on whether another one is flipped already.
func (r *run) marks(ctx context.Context) error {
	if err := r.together(ctx, r.unknown(), r.look); err != nil {
		return err
	}
	return r.each(ctx, r.mark)
}

func (r *run) unknown() (items []*item) {
	for _, i := range r.items {
		if !i.known() {
			items = append(items, i)
		}
	}
	return items
}

// flips flips all objects, one by one until the first is flipped: up to then the unit can go back. changed says that
// one was changed, and has to be copied once more. What it may own waits for that, and all else while the unit can go back.
func (r *run) flips(ctx context.Context) (changed bool, err error) {
	var again atomic.Pointer[item]
	flip := func(ctx context.Context, i *item) error {
		if owner := again.Load(); owner != nil && owner.generation < i.generation {
			return nil
		}
		changed, err := r.flip(ctx, i)
		if changed {
			again.Store(i)
		}
		return err
	}
	rest := r.items
	for len(rest) > 0 && !r.anyFlipped() {
		if err := r.one(ctx, rest[0], flip); err != nil || again.Load() != nil {
			return again.Load() != nil, err
		}
		rest = rest[1:]
	}
	err = r.eachOf(ctx, rest, flip)
	return again.Load() != nil, err
}

// anyFlipped says whether the unit is past the point of no return. A tombstone whose move has ended keeps nobody from taking
// the rest back.
func (r *run) anyFlipped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.items, (*item).half)
}

// setFlipped notes that an object is a tombstone, and whether its move has ended.
func (r *run) setFlipped(i *item, arrived bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.flipped, i.arrived = true, arrived
}

// needsBarrier notes that a mark was set.
func (r *run) needsBarrier() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh = true
}

// learn notes the UID that an object has in the new cell.
func (r *run) learn(i *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newUIDs[i.source.uid()] = i.copy.uid()
}

// newUID is the UID that an object has in the new cell.
func (r *run) newUID(old types.UID) (uid types.UID, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid, known = r.newUIDs[old]
	return uid, known
}
