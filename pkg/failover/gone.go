package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

// A router that is restarted, or leaves, between two reports of a run takes along what it has said in the first one. The driver
// that heard it has its words still; another one has the names in the record.

// remember adds what routers have just said to what was heard before: of each life of a router what it said last.
func remember(told, now []Witness) []Witness {
	told = slices.Clone(told)
	for _, w := range now {
		if w.Err != nil {
			continue
		}
		same := func(before Witness) bool {
			return before.Name == w.Name && before.Ledger.Started.Equal(w.Ledger.Started)
		}
		if i := slices.IndexFunc(told, same); i >= 0 {
			told[i] = w
			continue
		}
		told = append(told, w)
	}
	return told
}

// gone are those that nobody can ask any more what they have told: they have left, do not answer, or were restarted since.
func gone(told, now []Witness) []Witness {
	return slices.DeleteFunc(slices.Clone(told), func(before Witness) bool {
		i := slices.IndexFunc(now, func(w Witness) bool { return w.Name == before.Name && w.Err == nil })
		return i >= 0 && now[i].Ledger.Started.Equal(before.Ledger.Started)
	})
}

// entries are the writes that routers remember, and those that routers remembered which are gone. A router forgets what the mark
// has passed: of what one has told before, that is forgotten in its place.
func (f *Facts) entries() []ledger.Entry {
	var out []ledger.Entry
	for _, w := range f.Witnesses {
		out = append(out, w.Ledger.Entries...)
	}
	for _, w := range f.Gone {
		for _, e := range w.Ledger.Entries {
			if v := number(e.Version); f.Mark != nil && v > 0 && v <= f.Mark.Resources[schema.GroupResource{Group: e.Group, Resource: e.Resource}] {
				continue
			}
			out = append(out, e)
		}
	}
	return out
}

// Named is what a report has named whose routers are not all there any more.
type Named struct {
	Time time.Time
	// Epoch of the ring that it was made for.
	Epoch int64
	// Keys of objects that were lost or lacked a write.
	Keys []string
	// Lost and Stale are how many more it has counted as the one and the other, for whose names there was no room.
	Lost, Stale int64
}

// namedBefore is what an earlier report of a run has named, nil where each router that was heard for it can be asked again.
func namedBefore(report *v1alpha1.FailoverReport, now []Witness) *Named {
	if report == nil || !slices.ContainsFunc(report.Routers, func(r v1alpha1.FailoverRouter) bool { return departed(&r, now) }) {
		return nil
	}
	out := &Named{
		Epoch: report.Epoch, Keys: slices.Concat(report.LostKeys, report.StaleKeys),
		Lost: report.Lost - int64(len(report.LostKeys)), Stale: report.Stale - int64(len(report.StaleKeys)),
	}
	if report.Time != nil {
		out.Time = report.Time.Time
	}
	return out
}

// departed says whether a router that was heard for a report cannot be asked any more what it knew then.
func departed(r *v1alpha1.FailoverRouter, now []Witness) bool {
	if r.Started == nil {
		return false // it was not heard
	}
	i := slices.IndexFunc(now, func(w Witness) bool { return w.Name == r.Name && w.Err == nil })
	return i < 0 || !sameSecond(now[i].Ledger.Started, r.Started.Time)
}

// sameSecond compares times of one clock, of which the record has whole seconds.
func sameSecond(a, b time.Time) bool { return a.Truncate(time.Second).Equal(b.Truncate(time.Second)) }

// nameless are the objects that an earlier report has counted as lost, and as lacking a write, and had no room to name: what nobody
// can be asked about any more is in its numbers alone. Behind the fence no more is lost than was, so that what is found by then,
// and was not named, is among them. Else nobody can tell it from what was lost since, and both count.
func (j *join) nameless(found *Finding) (lost, stale int64) {
	n := j.f.Named
	switch {
	case n == nil:
		return 0, 0
	case n.Epoch != j.f.Ring.Status.Epoch:
		return n.Lost, n.Stale
	}
	return max(0, n.Lost-j.unnamed(found.Lost)), max(0, n.Stale-j.unnamed(found.Stale))
}

// unnamed counts those that an earlier report has not named.
func (j *join) unnamed(names []string) int64 {
	n := int64(0)
	for _, name := range names {
		if !j.named(name).before {
			n++
		}
	}
	return n
}

// startOf is since when a router remembers, nil where it does not say.
func startOf(w *Witness) *metav1.Time {
	if w.Ledger.Started.IsZero() {
		return nil
	}
	return timeOf(&w.Ledger.Started)
}

// carry keeps in a report what the one before says of routers that have left: whoever goes on with the run has to know that what
// these knew is in the names alone.
func (f *Finding) carry(before *v1alpha1.FailoverReport, now []Witness) {
	if before == nil {
		return
	}
	for _, r := range before.Routers {
		if !departed(&r, now) {
			continue
		}
		if i := slices.IndexFunc(f.Routers, func(other v1alpha1.FailoverRouter) bool { return other.Name == r.Name }); i >= 0 {
			f.Routers[i].Started = r.Started
			continue
		}
		f.Routers = append(f.Routers, v1alpha1.FailoverRouter{Name: r.Name, Epoch: r.Epoch, Started: r.Started, Message: "it has left since it was asked first"})
		f.Warnings = append(f.Warnings, fmt.Sprintf("router %s has left since it was asked first: what it acknowledged after that, and no backup has, is not in the list", r.Name))
	}
	slices.SortFunc(f.Routers, func(a, b v1alpha1.FailoverRouter) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(f.Warnings)
}
