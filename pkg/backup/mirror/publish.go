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

// listLimit is how many unprotected objects are named of a cell. Where there are more, no mark passes what has no envelope of
// the others; those whose envelope could not be promoted are counted.
const listLimit = 1000

// Mark says how far the backup of a cell has come.
type Mark struct {
	// Cell, and the UID of its namespace kube-system.
	Cell, ControlPlane string
	// Epoch of the newest ring for which every object had its envelopes.
	Epoch int64
	// Resources are the versions up to which every event of a resource is in its envelope, or its object is among the
	// unprotected ones.
	Resources map[schema.GroupResource]int64
	// Unprotected are the objects that have no envelope which could be promoted, by name.
	Unprotected []Unprotected
	// Unnamed is how many more have an envelope that could not be promoted.
	Unnamed int64
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

// equal compares all but times.
func (k *Mark) equal(other *Mark) bool {
	return other != nil && k.ControlPlane == other.ControlPlane && k.Epoch == other.Epoch && k.Unnamed == other.Unnamed &&
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
	unprotected, unnamed := m.unprotected()
	var out []Mark
	for name, c := range m.cells {
		if !m.members[name] || c.settled == 0 || !c.inherited {
			// What an earlier daemon has published stands until everything is known, and until it counts here as well: the
			// list of unprotected objects would be short.
			continue
		}
		mark := Mark{
			Cell: name, ControlPlane: m.snapshot().ControlPlanes[name], Epoch: c.settled,
			Resources: map[schema.GroupResource]int64{}, Unprotected: unprotected[name],
			Unnamed: unnamed[name],
		}
		for key, s := range c.streams {
			if at := s.progress.reached(); s.listed && at > 0 && m.backedUp() {
				mark.Resources[schema.GroupResource{Group: key.group, Resource: key.resource}] = at
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

// unprotected names the objects without a use in a failover, by the cells that have them, once for each cell that would not take
// what it has of them. Those that are named hold up their marks no longer. Of the others those that have an envelope are counted.
func (m *Mirror) unprotected() (named map[string][]Unprotected, unnamed map[string]int64) {
	m.inherit()
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
			if f.stored {
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

// refused are the items with a refusal that still stands, in order.
func (m *Mirror) refused() []*item {
	var out []*item
	for it := range m.suspects {
		primary, unit := m.primary(it)
		moved := primary != nil && it.refusal != nil && it.refusal.stored && unit != "" &&
			!slices.Contains(m.snapshot().Homes(primary.stream.cell.name, unit), it.refusal.cell)
		if primary == nil || moved || !it.refusal.standsFor(primary) && !it.refusal.holds(primary) {
			// Where its cell has nothing of it just now it may only have to be listed again.
			if moved || it.refusal == nil || primary != nil && it.refusal.uid != primary.uid {
				it.refusal = nil
				delete(m.suspects, it)
			}
			continue
		}
		out = append(out, it)
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
