package mirror

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// listLimit is how many unprotected objects are named of a cell. Of the others those are counted that marks have passed, since
// they have an envelope, which could not be promoted, or were named before; no mark passes the rest.
const listLimit = 1000

// Mark says how far the backup of a cell has come.
type Mark struct {
	// Cell, and the UID of its namespace kube-system.
	Cell, ControlPlane string
	// Time is when all of this was so. It may take long until it is published.
	Time time.Time
	// Epoch of the newest ring for which every object had its envelopes.
	Epoch int64
	// Resources are the versions up to which every event of a resource is in its envelope, or its object is among the
	// unprotected ones.
	Resources map[schema.GroupResource]int64
	// Unprotected are the objects that have no envelope which could be promoted, by name.
	Unprotected []Unprotected
	// Unnamed is how many more have no envelope that could be promoted, though marks have passed them.
	Unnamed int64
	// Pending is since when something may have happened, by resource, that is in no envelope yet; see stream.waits. A resource
	// that is not in it had everything stored that had happened a moment before.
	Pending map[schema.GroupResource]time.Time
	// Envelopes are those of the cell's objects, in all cells of the ring.
	Envelopes int64
}

// Unprotected is an object that a failover would lose, or not make again.
type Unprotected struct {
	// Object is "deployments.apps payments/checkout".
	Object    string    `json:"object"`
	Group     string    `json:"group,omitempty"`
	Resource  string    `json:"resource"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Backup    string    `json:"backup"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message,omitempty"`
	Since     time.Time `json:"since"`
	// Envelope says that there is one.
	Envelope bool `json:"envelope,omitempty"`
}

// equal compares all but the time.
func (k *Mark) equal(other *Mark) bool {
	return other != nil && k.ControlPlane == other.ControlPlane && k.Epoch == other.Epoch && k.Unnamed == other.Unnamed &&
		k.Envelopes == other.Envelopes && maps.EqualFunc(k.Pending, other.Pending, time.Time.Equal) &&
		maps.Equal(k.Resources, other.Resources) && slices.Equal(k.Unprotected, other.Unprotected)
}

// publishLoop publishes marks that have changed until ctx ends.
func (m *Mirror) publishLoop(ctx context.Context) {
	published := map[string]*Mark{}
	ticker := time.NewTicker(m.config.PublishEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.readPublished(ctx)
		for _, mark := range m.marks() {
			if mark.equal(published[mark.Cell]) {
				continue
			}
			if err := m.config.Publish(ctx, mark); err != nil {
				if ctx.Err() == nil {
					m.config.Logger.Warn("cannot publish how far the backup has come, trying again", "cell", mark.Cell, "err", err)
				}
				continue
			}
			published[mark.Cell] = &mark
		}
	}
}

// marks are those of all cells that have anything to say.
func (m *Mirror) marks() []Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil || !m.allIndexed() {
		// What was published stands: a cell whose envelopes are not known may have some of what was deleted since.
		return nil
	}
	unprotected, unnamed := m.nameUnprotected()
	now, envelopes := m.config.Now(), m.bySource()
	var out []Mark
	for name, c := range m.cells {
		if !m.members[name] || c.settled == 0 || !c.inherited {
			// What an earlier daemon has published stands until everything is known, and until it counts here as well: the
			// list of unprotected objects would be short.
			continue
		}
		mark := Mark{
			Cell: name, ControlPlane: m.snapshot().ControlPlanes[name], Time: now, Epoch: c.settled,
			Resources: map[schema.GroupResource]int64{}, Unprotected: unprotected[name],
			Unnamed: unnamed[name], Pending: map[schema.GroupResource]time.Time{}, Envelopes: envelopes[name],
		}
		for key, s := range c.streams {
			of := schema.GroupResource{Group: key.group, Resource: key.resource}
			if at := s.progress.reached(); s.listed && at > 0 && m.backedUp() {
				mark.Resources[of] = at
			}
			if since := s.waits(now); !since.IsZero() {
				mark.Pending[of] = since.UTC().Round(0)
			}
		}
		out = append(out, mark)
	}
	return out
}

// backedUp says whether there is a cell for backups at all.
func (m *Mirror) backedUp() bool {
	ring := m.snapshot().Table.Current()
	return ring != nil && len(ring.Members()) > 1
}

// count is how many there are, by the cell that has, or would have, their envelopes; "" where nobody knows which.
type count map[string]int64

// nameUnprotected lists the objects that a failover would lose, or not make again, by the cells that have them: listLimit of a
// cell by name, once for each cell that would not take them, and of the others how many marks have passed. From then on those
// that are named hold up no mark. What was published before counts as well.
func (m *Mirror) nameUnprotected() (named map[string][]Unprotected, unnamed map[string]int64) {
	m.inherit()
	m.dropRefusals()
	named, unnamed = map[string][]Unprotected{}, map[string]int64{}
	for name, c := range m.cells {
		if c.carried > 0 {
			unnamed[name] = c.carried
		}
	}
	for _, it := range m.refused() {
		f := it.refusal
		primary, _ := m.primary(it)
		cell := primary.stream.cell.name
		if len(named[cell]) == listLimit {
			if f.passed() { // before
				unnamed[cell]++
			}
			continue
		}
		named[cell] = append(named[cell], Unprotected{
			Object: it.id.String(), Group: it.id.group, Resource: it.id.resource, Namespace: it.id.namespace, Name: it.id.name,
			UID: string(f.uid), Backup: f.cell, Reason: f.reason, Message: clip(f.message), Since: f.since.UTC(), Envelope: f.stored,
		})
		for _, home := range m.refusedBeside(it) {
			if len(named[cell]) == listLimit {
				unnamed[cell]++
				break
			}
			beside := named[cell][len(named[cell])-1]
			beside.Backup, beside.Message = home, ""
			named[cell] = append(named[cell], beside)
		}
		if !f.listed {
			f.listed = true
			m.schedule(it, false)
		}
	}
	for name, c := range m.cells {
		left := c.stillUnsaved()
		if left = left[:min(len(left), listLimit-len(named[name]))]; len(left) > 0 {
			named[name] = append(named[name], left...)
			slices.SortStableFunc(named[name], func(a, b Unprotected) int { return strings.Compare(a.Object, b.Object) })
		}
	}
	return named, unnamed
}

// unprotectedByHome counts those that [Mirror.nameUnprotected] has named or counted, by the cells that have them and then by
// where their envelopes would be: one whose key moves counts in two.
func (m *Mirror) unprotectedByHome() map[string]count {
	out := map[string]count{}
	add := func(cell, home string, n int64) {
		if out[cell] == nil {
			out[cell] = count{}
		}
		out[cell][home] += n
	}
	for name, c := range m.cells {
		if c.carried > 0 {
			add(name, "", c.carried)
		}
		for _, u := range c.stillUnsaved() {
			add(name, u.Backup, 1)
		}
	}
	for _, it := range m.refused() {
		if !it.refusal.passed() {
			continue
		}
		primary, unit := m.primary(it)
		cell := primary.stream.cell.name
		homes := []string{it.refusal.cell}
		if it.refusal.stored {
			homes = append(homes, m.refusedBeside(it)...)
		} else if unit != "" {
			homes = m.snapshot().Homes(cell, unit)
		}
		for _, home := range homes {
			add(cell, home, 1)
		}
	}
	return out
}

// dropRefusals forgets refusals of what is another object by now, or has its envelopes elsewhere. One of which the cell has
// nothing just now may only have to be listed again.
func (m *Mirror) dropRefusals() {
	for it := range m.suspects {
		primary, unit := m.primary(it)
		f := it.refusal
		if f != nil && (primary == nil || f.uid == primary.uid && !m.movedFrom(f, primary, unit)) {
			continue
		}
		it.refusal = nil
		delete(m.suspects, it)
	}
}

// movedFrom says whether the envelope that was refused is no longer that of its object.
func (m *Mirror) movedFrom(f *refusal, primary *record, unit string) bool {
	return f.stored && unit != "" && !slices.Contains(m.snapshot().Homes(primary.stream.cell.name, unit), f.cell)
}

// refused are the items with a refusal that stands, in order.
func (m *Mirror) refused() []*item {
	var out []*item
	for it := range m.suspects {
		if primary, _ := m.primary(it); primary != nil && (it.refusal.standsFor(primary) || it.refusal.holds(primary)) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item) int { return strings.Compare(a.id.String(), b.id.String()) })
	return out
}

// clip keeps what a cell says short: a thousand of these go into one object.
func clip(message string) string {
	const most = 300
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}

// shardedUnits counts the units of a cell.
func (c *cell) shardedUnits() int64 {
	units := map[string]struct{}{}
	for _, s := range c.streams {
		if s.class != placement.Sharded {
			continue
		}
		for _, h := range s.records {
			if primary, unit := c.m.primary(h.item); primary == h.record {
				units[unit] = struct{}{}
			}
		}
	}
	return int64(len(units))
}
