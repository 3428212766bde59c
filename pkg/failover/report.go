package failover

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// maxKeys is how many objects a list of the report names.
const maxKeys = 1000

// Finding is a report and what it leaves out.
type Finding struct {
	v1alpha1.FailoverReport
	// Lost, Stale and Corrupt name all objects, not the first thousand, but those of which an earlier report has left the number
	// alone.
	Lost, Stale, Corrupt []string
	// Resurrected are the copies of objects whose deletion a router acknowledged, by cell. They must not be
	// promoted.
	Resurrected map[string][]Copy
}

// Loss is how many objects are gone, or lack an acknowledged write, or may be gone without anybody knowing their names:
// what --accept-loss is about.
func Loss(r *v1alpha1.FailoverReport) int64 { return r.Lost + r.Stale + r.Corrupt + r.Unknown }

// Report says what the failover of the cell would cost. It is pure: equal facts give equal reports.
//
// An object is its UID. A router knows the newest write that it acknowledged of it, and a copy holds one version. Of an
// object that no router remembers the backup has everything: that is when routers forget.
func Report(f *Facts) (*Finding, error) {
	before, err := routing.FromRing(f.Ring)
	if err != nil {
		return nil, fmt.Errorf("the ring makes no sense: %w", err)
	}
	after, err := placeAfter(f.Ring, f.Cell)
	if err != nil {
		return nil, fmt.Errorf("the ring without %s makes no sense: %w", f.Cell, err)
	}
	now := metav1.NewTime(f.Now)
	out := &Finding{Resurrected: map[string][]Copy{}}
	out.Time, out.Epoch = &now, f.Ring.Status.Epoch
	j := newJoin(f, before, after)
	j.judge(out)
	out.finish(f, j)
	return out, nil
}

// object is one of the failing cell's by what is known of it.
type object struct {
	name string
	// before says that an earlier report has named it, by what nobody can be asked about any more.
	before bool
	// elsewhere says that it is none of the cell's any more: it has moved, or its key has.
	elsewhere bool
	// unsaved is what the backup says that it has no copy of in its newest state; nil for nothing.
	unsaved *mirror.Unprotected
	// refused is what the backup says that it has a copy of which its cell would not take, one for each such cell.
	refused []*mirror.Unprotected
	// writes are the newest that any router acknowledged, by UID.
	writes map[string]ledger.Entry
	// copies can be promoted, others cannot: the ring names another cell than theirs.
	copies []located
	others []located
	// spoiled are the UIDs of objects of that name whose copy is damaged.
	spoiled []string
	// arrived is when a move brought it last, if the backup may not know of that yet.
	arrived time.Time
}

type located struct {
	cell string
	*Copy
}

// join brings copies and writes together, by object.
type join struct {
	f       *Facts
	objects map[string]*object
	corrupt []string
	takes   map[string]int64
	// ages say for how long copies have lacked a write.
	ages []age
}

type age struct {
	name  string
	lacks time.Duration
}

func newJoin(f *Facts, before, after *routing.Snapshot) *join {
	j := &join{f: f, objects: map[string]*object{}, takes: map[string]int64{}}
	for _, s := range f.Survivors {
		for i := range s.Copies {
			c := &s.Copies[i]
			if c.Corrupt != nil && c.Header.Name != "" {
				j.damaged(after, s.Cell, c)
				continue
			}
			if c.Corrupt != nil {
				j.corrupt = append(j.corrupt, fmt.Sprintf("secrets/%s/%s", v1alpha1.Namespace, c.Secret))
				continue
			}
			h := &c.Header
			o := j.object(h.Group, h.Resource, h.Namespace, h.Name)
			if usable(after, s.Cell, c) {
				o.copies = append(o.copies, located{s.Cell, c})
			} else {
				o.others = append(o.others, located{s.Cell, c})
			}
		}
	}
	for _, s := range f.Survivors {
		for i := range s.Handed {
			j.handed(&s.Handed[i])
		}
	}
	for i := range f.Unprotected {
		u := &f.Unprotected[i]
		if o := j.object(u.Group, u.Resource, u.Namespace, u.Name); u.Envelope {
			o.refused = append(o.refused, u)
		} else {
			o.unsaved = u
		}
	}
	for _, e := range f.entries() {
		o := j.object(e.Group, e.Resource, e.Namespace, e.Name)
		o.elsewhere = f.Moved[o.name] || leftBehind(before, f.Cell, &e)
		if known, there := o.writes[e.UID]; !there || newer(e, known) {
			o.writes[e.UID] = e
		}
	}
	if f.Named != nil {
		for _, name := range f.Named.Keys {
			j.named(name).before = true
		}
	}
	return j
}

// damaged takes a copy whose header says of what it is, and whose data is spoiled: the object is lost if there is no other.
func (j *join) damaged(after *routing.Snapshot, cell string, c *Copy) {
	whole := *c
	if whole.Corrupt = nil; usable(after, cell, &whole) {
		h := &c.Header
		o := j.object(h.Group, h.Resource, h.Namespace, h.Name)
		o.spoiled = append(o.spoiled, string(h.UID))
	}
}

func (j *join) object(group, resource, namespace, name string) *object {
	return j.named(Key(group, resource, namespace, name))
}

func (j *join) named(full string) *object {
	if j.objects[full] == nil {
		j.objects[full] = &object{name: full, writes: map[string]ledger.Entry{}}
	}
	return j.objects[full]
}

// Key names an object as reports do: "<resource>[.<group>]/<namespace>/<name>".
func Key(group, resource, namespace, name string) string {
	if group != "" {
		resource += "." + group
	}
	return resource + "/" + namespace + "/" + name
}

// leftBehind says whether a write was of an object whose key has left the cell since: a rebalance has taken it along.
func leftBehind(snap *routing.Snapshot, cell string, e *ledger.Entry) bool {
	class, key := snap.Classes.Of(e.Group, e.Resource, e.Namespace)
	p, placed := snap.Table.Lookup(key, e.Namespace, e.Name)
	return class == placement.Sharded && placed && p.Old() != cell && p.New() != cell
}

// newer says whether a write of the same object came after another one. A deletion is the last.
func newer(a, b ledger.Entry) bool {
	if a.Gone != b.Gone {
		return a.Gone
	}
	return number(a.Version) > number(b.Version)
}

// number is 0 for a version that is not known.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// judge sorts the objects into what is protected, lost and stale.
func (j *join) judge(out *Finding) {
	for _, o := range j.objects {
		o.forget(out)
		uid, write, alive := o.newest()
		best := o.best(uid)
		if o.unsaved != nil && o.writes[o.unsaved.UID].Gone {
			o.unsaved = nil
		}
		switch {
		case o.wouldRefuse(best):
			out.Lost = append(out.Lost, o.name)
			continue
		case o.unsaved != nil && best != nil:
			out.Stale = append(out.Stale, o.name)
			j.lacks(o.name, o.unsaved.Since)
		case o.unsaved != nil:
			out.Lost = append(out.Lost, o.name)
		case o.before && len(o.writes) == 0 && best == nil:
			out.Lost = append(out.Lost, o.name)
		case o.before && len(o.writes) == 0: // what it lacks nobody knows
			out.Stale = append(out.Stale, o.name)
			j.lacks(o.name, j.f.Named.Time)
		case !alive && o.deleted():
			continue
		case o.elsewhere:
			continue
		case best == nil:
			out.Lost = append(out.Lost, o.name)
		case alive && number(best.Header.ResourceVersion) < number(write.Version):
			out.Stale = append(out.Stale, o.name)
			j.lacks(o.name, write.Time)
		default:
			out.Protected++
		}
		if best != nil {
			j.takes[best.cell]++
		}
	}
	out.Corrupt = j.corrupt
}

// lacks notes that the copy of an object has lacked a write since then, by the clock of whoever saw that: it may be one that is
// ahead of this machine's. The name is empty where nobody knows it.
func (j *join) lacks(name string, since time.Time) {
	j.ages = append(j.ages, age{name, max(j.f.Now.Sub(since), 0)})
}

// forget takes the copies out of objects that exist no more. Those go, too, that this ring does not look for: the next one may.
func (o *object) forget(out *Finding) {
	keep := func(all []located) []located {
		return slices.DeleteFunc(all, func(c located) bool {
			if !o.writes[string(c.Header.UID)].Gone {
				return false
			}
			out.Resurrected[c.cell] = append(out.Resurrected[c.cell], *c.Copy)
			return true
		})
	}
	o.copies, o.others = keep(o.copies), keep(o.others)
	o.spoiled = slices.DeleteFunc(o.spoiled, func(uid string) bool { return o.writes[uid].Gone })
}

// newest is the object of that name that exists, by the last write to any.
func (o *object) newest() (uid string, write ledger.Entry, alive bool) {
	for id, w := range o.writes {
		if !w.Gone && (!alive || number(w.Version) > number(write.Version)) {
			uid, write, alive = id, w, true
		}
	}
	return uid, write, alive
}

// best is the copy that counts, nil for none: the newest of those that their cells would take, if there is one. uid is ""
// where no router knows of a write.
func (o *object) best(uid string) *located {
	var best *located
	for i := range o.copies {
		c := &o.copies[i]
		if uid != "" && string(c.Header.UID) != uid {
			continue
		}
		worse, refused := o.wouldRefuse(best), o.wouldRefuse(c)
		if best == nil || worse && !refused ||
			worse == refused && number(c.Header.ResourceVersion) > number(best.Header.ResourceVersion) {
			best = c
		}
	}
	return best
}

// wouldRefuse says whether the cell of a copy, when it was asked last, would not have taken the object in it.
func (o *object) wouldRefuse(c *located) bool {
	return c != nil && slices.ContainsFunc(o.refused, func(u *mirror.Unprotected) bool {
		return c.cell == u.Backup && string(c.Header.UID) == u.UID
	})
}

// finish counts, and adds what is said of routers and survivors.
func (f *Finding) finish(facts *Facts, j *join) {
	lost, stale := j.nameless(f)
	for range stale {
		j.lacks("", facts.Named.Time)
	}
	slices.Sort(f.Lost)
	slices.Sort(f.Corrupt)
	// The one that has lacked a write for longest comes first.
	slices.SortFunc(j.ages, func(a, b age) int {
		return cmp.Or(cmp.Compare(b.lacks, a.lacks), cmp.Compare(a.name, b.name))
	})
	f.Stale = f.Stale[:0]
	for _, a := range j.ages {
		if a.name != "" {
			f.Stale = append(f.Stale, a.name)
		}
	}
	r := &f.FailoverReport
	r.Lost, r.Stale, r.Corrupt = int64(len(f.Lost))+lost, int64(len(f.Stale))+stale, int64(len(f.Corrupt))
	r.Protected -= min(r.Protected, stale) // their copies are there, and nobody knows any more what they lack
	r.LostKeys, r.StaleKeys, r.CorruptKeys = first(f.Lost), first(f.Stale), first(f.Corrupt)
	r.Workloads = r.Protected + r.Lost + r.Stale + r.Corrupt
	r.Ages, r.OldestCopy = ages(j.ages, r.Protected)
	if lost+stale > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("of %d objects that are lost or lack a write there is no name: an earlier report of the run had no room for it, and routers that told of them have left or were restarted",
			lost+stale))
	}
	f.witnesses(facts)
	f.survivors(facts, j)
	f.problems(facts)
}

func first(names []string) []string { return names[:min(len(names), maxKeys)] }

// ages counts copies by how long they have lacked a write; those that lack none are the freshest.
func ages(all []age, fresh int64) ([]v1alpha1.CopyAge, *metav1.Duration) {
	out := []v1alpha1.CopyAge{
		{UpTo: &metav1.Duration{Duration: 5 * time.Second}, Copies: fresh},
		{UpTo: &metav1.Duration{Duration: time.Minute}},
		{},
	}
	for _, a := range all {
		switch {
		case a.lacks <= out[0].UpTo.Duration:
			out[0].Copies++
		case a.lacks <= out[1].UpTo.Duration:
			out[1].Copies++
		default:
			out[2].Copies++
		}
	}
	if len(all) == 0 {
		return out, nil
	}
	return out, &metav1.Duration{Duration: all[0].lacks.Round(time.Millisecond)}
}
