package quota

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// Cell is a cell of the ring as it was seen.
type Cell struct {
	Name string
	// Weight is its share of what nobody uses.
	Weight int
	// Reached is false where the cell did not answer. What follows is nothing then.
	Reached bool
	// Generation of the copy in the cell, 0 where there is none that counts.
	Generation int64
	// Enforced are the limits by which the cell admits, those of the copy's status.
	Enforced corev1.ResourceList
	// Used is what the cell counts as used.
	Used corev1.ResourceList
	// Hidden is what of Used counts for nobody: what every control plane makes for itself, and the one of two
	// copies of a moving object. The cell gets as much beyond its part.
	Hidden corev1.ResourceList
}

// Need is room for something that a cell has refused.
type Need struct {
	Cell string
	// Requested is what of each limit.
	Requested corev1.ResourceList
	// Moving says that it is in another cell as well, and that it will count there or here: it is granted
	// beyond the whole.
	Moving bool
}

// Next is what to do.
type Next struct {
	// Record is the one to write; the caller must not change it. It is the newest one's equal where nothing
	// has to be written.
	Record *Record
	// Waits is true where some part has to shrink in its cell before another one can grow.
	Waits bool
	// Lacking are the limits of which there is not as much left in all cells as is needed. It is empty where
	// nothing is needed, or where it is granted or waits.
	Lacking []corev1.ResourceName
}

// Plan says how a quota is to be divided: uid and hard are those of its source, of the limits that are divided;
// newest is the record, nil where there is none. A cell that is not given has no part.
//
// A cell gets what it uses, what it needs, and by weight a share of what is left. While each has at least half of
// that share nothing is moved. What was needed is held for [HoldFor] from now, unless it is needed elsewhere: the write
// that was refused has still to come. Where a limit lacks what is needed, none is moved: the write stays refused.
func Plan(uid types.UID, hard corev1.ResourceList, newest *Record, cells []Cell, need *Need, now time.Time) Next {
	next := plan(uid, hard, newest, cells, need, now)
	if lacking := next.Lacking; len(lacking) > 0 {
		next = plan(uid, hard, newest, cells, nil, now)
		next.Lacking = lacking
	}
	return next
}

func plan(uid types.UID, hard corev1.ResourceList, newest *Record, cells []Cell, need *Need, now time.Time) Next {
	if newest == nil || newest.UID != uid {
		newest = &Record{UID: uid}
	}
	next := &Record{UID: uid, Hard: hard, Last: newest.Last, Cells: map[string]Part{}}
	ahead := map[string]bool{} // a copy of a later record than this one, which an older RCP was restored with, or which is lost
	for _, c := range cells {
		next.Last = max(next.Last, c.Generation)
		ahead[c.Name] = c.Generation > newest.Cells[c.Name].Generation
		next.Cells[c.Name] = Part{Generation: newest.Cells[c.Name].Generation, Limit: corev1.ResourceList{}, Bound: corev1.ResourceList{}, Held: corev1.ResourceList{}}
	}
	out := Next{Record: next}
	var limits []*limit
	for _, name := range slices.Sorted(maps.Keys(hard)) {
		one := newLimit(name, hard[name], newest, cells, need, now)
		waits, lacking := one.divide()
		out.Waits = out.Waits || waits
		if lacking {
			out.Lacking = append(out.Lacking, name)
		}
		limits = append(limits, one)
	}
	granted := need
	if need != nil && need.Moving {
		granted = nil
	}
	for _, one := range limits {
		if granted != nil {
			one.hold()
		}
		one.into(next)
	}
	next.keepHolds(newest, granted, now)
	for _, name := range slices.Sorted(maps.Keys(next.Cells)) {
		part := next.Cells[name]
		before, had := newest.Cells[name]
		if !had || ahead[name] || !sameList(before.Limit, part.Limit) {
			next.Last++
			part.Generation = next.Last
			next.Cells[name] = part
		}
	}
	return out
}

// limit is one limit of a quota, in units of its own.
type limit struct {
	name   corev1.ResourceName
	unit   unit
	format resource.Format
	whole  int64
	cells  []cellLimit
}

// cellLimit is one cell's part of it.
type cellLimit struct {
	name         string
	weight       int64
	limit, bound int64
	// known is false where the cell did not answer, or has nothing to say of this limit.
	known bool
	used  int64
	need  int64
	// held is what the limit is kept at for writes that are still to come, 0 where there are none.
	held int64
	// want is what the limit is to be.
	want int64
}

func newLimit(name corev1.ResourceName, whole resource.Quantity, newest *Record, cells []Cell, need *Need, now time.Time) *limit {
	all := []resource.Quantity{whole}
	for _, c := range cells {
		part := newest.Cells[c.Name]
		all = append(all, part.Limit[name], part.Bound[name], part.Held[name], c.Used[name], c.Hidden[name])
	}
	if need != nil {
		all = append(all, need.Requested[name])
	}
	l := &limit{name: name, unit: unitOf(name, all), format: whole.Format}
	l.whole = l.unit.of(whole)
	for _, c := range cells {
		part := newest.Cells[c.Name]
		one := cellLimit{name: c.Name, weight: int64(c.Weight), limit: l.unit.of(part.Limit[name]), bound: l.unit.of(part.Bound[name])}
		l.whole += l.unit.of(c.Hidden[name])
		// A cell that has not counted yet has admitted by no limit that it could be held to.
		enforced, counted := c.Enforced[name]
		_, uses := c.Used[name]
		one.known = c.Reached
		one.used = l.unit.of(c.Used[name])
		if one.known && counted && uses && c.Generation == part.Generation && l.unit.of(enforced) <= one.limit {
			one.bound = max(one.limit, one.used)
		}
		if now.Before(part.HeldUntil) {
			one.held = l.unit.of(part.Held[name])
		}
		if need != nil && need.Cell == c.Name {
			one.need = l.unit.of(need.Requested[name])
			if need.Moving {
				l.whole += one.need
			}
		}
		l.cells = append(l.cells, one)
	}
	if need != nil && need.Moving {
		l.whole = max(l.whole, l.whole-l.free()) // what moves does so where more is used than there is, too
	}
	return l
}

// divide gives each cell its limit and bound.
func (l *limit) divide() (waits, lacking bool) {
	free := l.free()
	if free < 0 {
		l.release()
		free = l.free()
	}
	lacking = free < 0 && l.needs()
	l.aim(free)
	return l.move(), lacking
}

func (l *limit) needs() bool {
	return slices.ContainsFunc(l.cells, func(c cellLimit) bool { return c.need > 0 })
}

// floor is what a cell must have: what it uses and needs, or what it holds. Of one that is not known that is its bound.
func (c *cellLimit) floor() int64 {
	if !c.known {
		return c.bound
	}
	return max(c.used+c.need, c.held)
}

// free is what is left when each cell has its floor; less than nothing where more is used than there is.
func (l *limit) free() int64 {
	free := l.whole
	for i := range l.cells {
		free -= l.cells[i].floor()
	}
	return free
}

// aim decides what each limit is to be in the end.
func (l *limit) aim(free int64) {
	weights := make([]int64, len(l.cells))
	for i, c := range l.cells {
		if c.known {
			weights[i] = c.weight
		}
	}
	if free < 0 {
		l.aimBelowUse()
		return
	}
	shares, certain := Parts(free, weights), floors(free, weights)
	balanced := l.sum() == l.whole
	for i := range l.cells {
		c := &l.cells[i]
		if !c.known {
			c.want = c.limit
			continue
		}
		slack := c.limit - c.floor()
		// What rounding gives to one and not to another is not worth a move.
		balanced = balanced && slack >= 0 && 2*slack >= certain[i]
		c.want = c.floor() + shares[i]
	}
	if balanced {
		l.stay()
	}
}

// aimBelowUse divides what there is by use: nothing can be made before enough was deleted.
func (l *limit) aimBelowUse() {
	left := l.whole
	used := make([]int64, len(l.cells))
	stays := true
	for i, c := range l.cells {
		if !c.known {
			left -= c.bound
			continue
		}
		used[i] = c.used
		stays = stays && c.limit <= c.used
	}
	if stays && l.sum() == l.whole {
		l.stay()
		return
	}
	for i, part := range Parts(max(0, left), used) {
		if c := &l.cells[i]; c.known {
			c.want = part
		} else {
			c.want = c.limit
		}
	}
}

func (l *limit) sum() (sum int64) {
	for _, c := range l.cells {
		sum += c.limit
	}
	return sum
}

func (l *limit) stay() {
	for i := range l.cells {
		l.cells[i].want = l.cells[i].limit
	}
}

// move goes from the limits towards what they are to be as far as the bounds allow it, first those that need.
func (l *limit) move() (waits bool) {
	left := l.whole
	for _, c := range l.cells {
		left -= c.bound
	}
	left = max(0, left)
	for _, needing := range []bool{true, false} {
		for i := range l.cells {
			c := &l.cells[i]
			if c.need > 0 != needing {
				continue
			}
			if c.want > c.bound {
				grown := min(c.want-c.bound, left)
				left -= grown
				c.bound += grown
			}
			c.limit = min(c.want, c.bound)
			waits = waits || c.limit < c.want
		}
	}
	return waits
}

// into writes the limit into a record.
func (l *limit) into(r *Record) {
	for _, c := range l.cells {
		part := r.Cells[c.name]
		part.Limit[l.name] = l.unit.quantity(c.limit, l.format)
		part.Bound[l.name] = l.unit.quantity(c.bound, l.format)
		if c.held > c.used {
			part.Held[l.name] = l.unit.quantity(c.held, l.format)
		}
	}
}
