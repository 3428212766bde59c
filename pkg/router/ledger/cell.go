package ledger

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is one object of a resource for as long as it lives.
type object struct{ namespace, name, uid string }

// entry is the newest write of an object.
type entry struct {
	object
	of            *resource
	version       int64
	verb          string
	gone          bool
	at            time.Time
	before, after *entry
}

// resource is what is remembered of one resource, the oldest first.
type resource struct {
	name        schema.GroupResource
	entries     map[object]*entry
	first, last *entry
	// reached is the version up to which the backup has everything.
	reached int64
	gap     gap
}

// gap is what had to be given up of a resource.
type gap struct {
	from, until time.Time
	// version is the highest that was given up. Where unversioned is set there may be a higher one, of a deletion
	// at that time.
	version     int64
	unversioned time.Time
}

func (g *gap) open() bool { return !g.from.IsZero() }

type cell struct {
	limit int

	mu        sync.Mutex // guards what follows
	resources map[schema.GroupResource]*resource
	size      int
	dropped   int
	// unversioned are entries whose version is not known yet, the oldest first.
	unversioned []*entry
}

func (c *cell) resource(name schema.GroupResource) *resource {
	r := c.resources[name]
	if r == nil {
		r = &resource{name: name, entries: map[object]*entry{}}
		c.resources[name] = r
	}
	return r
}

func (c *cell) record(w Write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.resource(schema.GroupResource{Group: w.Group, Resource: w.Resource})
	id := object{w.Namespace, w.Name, w.UID}
	e := r.entries[id]
	switch {
	case w.Version != 0 && w.Version <= r.reached:
		return // its envelope was quicker than its answer
	case e == nil:
		e = &entry{object: id, of: r}
		r.entries[id] = e
		c.size++
	case e.gone || !w.Gone && w.Version != 0 && w.Version < e.version:
		return // answers that overtook each other
	default:
		r.unlink(e)
	}
	e.version, e.verb, e.gone, e.at = w.Version, w.Verb, w.Gone, w.At
	r.append(e)
	if e.version == 0 {
		c.wait(e)
	}
	for c.size > c.limit {
		c.drop()
	}
}

// wait has an entry learn its version with the next sample. Where none comes, what was given up is not kept here either.
func (c *cell) wait(e *entry) {
	c.unversioned = append(c.unversioned, e)
	if len(c.unversioned) > 2*c.limit {
		c.unversioned = slices.DeleteFunc(c.unversioned, func(e *entry) bool { return e.of.entries[e.object] != e })
	}
}

// drop gives up the oldest entry.
func (c *cell) drop() {
	var oldest *entry
	for _, r := range c.resources {
		if r.first != nil && (oldest == nil || r.first.at.Before(oldest.at)) {
			oldest = r.first
		}
	}
	g := &oldest.of.gap
	if !g.open() {
		g.from = oldest.at
	}
	g.until, g.version = oldest.at, max(g.version, oldest.version)
	if oldest.version == 0 {
		g.unversioned = oldest.at
	}
	c.dropped++
	c.forget(oldest)
}

func (c *cell) forget(e *entry) {
	e.of.unlink(e)
	delete(e.of.entries, e.object)
	c.size--
}

func (c *cell) observe(version int64, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.unversioned) > 0 && c.unversioned[0].at.Before(asked) {
		if e := c.unversioned[0]; e.version == 0 { // it may have been dropped, or written again, which does no harm
			e.version = version
		}
		c.unversioned = c.unversioned[1:]
	}
	for _, r := range c.resources {
		if !r.gap.unversioned.IsZero() && r.gap.unversioned.Before(asked) {
			r.gap.version, r.gap.unversioned = max(r.gap.version, version), time.Time{}
		}
		c.trim(r)
	}
}

func (c *cell) reach(mark Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, version := range mark.Resources {
		r := c.resource(name)
		r.reached = version
		c.trim(r)
	}
}

// trim forgets what the backup has. Answers come nearly in the order of their versions, so that the first entry which
// it has not may hold up the next ones, and not for long.
func (c *cell) trim(r *resource) {
	for e := r.first; e != nil && e.version != 0 && e.version <= r.reached; e = r.first {
		c.forget(e)
	}
	if r.gap.version <= r.reached && r.gap.unversioned.IsZero() {
		r.gap = gap{}
	}
}

func (c *cell) count() (writes, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size, c.dropped
}

func (r *resource) append(e *entry) {
	e.before, e.after = r.last, nil
	if r.last == nil {
		r.first = e
	} else {
		r.last.after = e
	}
	r.last = e
}

func (r *resource) unlink(e *entry) {
	if e.before == nil {
		r.first = e.after
	} else {
		e.before.after = e.after
	}
	if e.after == nil {
		r.last = e.before
	} else {
		e.after.before = e.before
	}
	e.before, e.after = nil, nil
}
