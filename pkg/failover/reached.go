package failover

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// beside is what is published beside a mark that routers do not read.
type beside struct {
	Epoch, Unnamed, Envelopes int64
	Pending                   map[string]time.Time
}

func (b *beside) pending() map[schema.GroupResource]time.Time {
	if b.Pending == nil {
		return nil
	}
	out := make(map[schema.GroupResource]time.Time, len(b.Pending))
	for name, since := range b.Pending {
		out[schema.ParseGroupResource(name)] = since
	}
	return out
}

// reached is up to when the backup has had everything of a resource that happened in the cell; zero where nobody knows. The
// time of the mark is when it was published, and something else may have waited much longer then.
func (f *Facts) reached(of schema.GroupResource) time.Time {
	if f.Mark == nil {
		return time.Time{}
	}
	if _, followed := f.Mark.Resources[of]; !followed {
		return time.Time{}
	}
	return earliest(f.said(), f.Pending[of])
}

// reachedAll is up to when the backup has had everything of the cell; zero where nobody knows.
func (f *Facts) reachedAll() time.Time {
	at := f.said()
	for _, since := range f.Pending {
		at = earliest(at, since)
	}
	return at
}

// said is up to when everything was stored that does not count as pending. A backup that is too old to say what is pending has
// said in the status of the cell for how long the oldest change had waited by then; one that has not done that either may have
// had any change waiting.
func (f *Facts) said() time.Time {
	if f.Pending != nil {
		return f.Mark.Time
	}
	b := f.backup()
	if b == nil || b.Time.IsZero() {
		return time.Time{}
	}
	lag := f.Cells[f.Cell].Status.BackupLag
	switch {
	case lag != nil:
		return earliest(f.Mark.Time, b.Time.Add(-lag.Duration))
	case b.Pending > 0:
		return time.Time{}
	}
	return earliest(f.Mark.Time, b.Time.Time)
}

// earliest is that of two times, of which the second may be none.
func earliest(at, or time.Time) time.Time {
	if !or.IsZero() && or.Before(at) {
		return or
	}
	return at
}

// tooYoung says what a router cannot know: what one before it acknowledged, and no copy has.
func (f *Facts) tooYoung(w *Witness) []string {
	if f.Mark == nil {
		return nil // which says more
	}
	at := f.reachedAll()
	if !w.Ledger.Started.After(at.Add(-handedSlack)) {
		return nil
	}
	far := "does not say how far it has come"
	if !at.IsZero() {
		far = "has come as far as " + stamp(at)
	}
	waiting := ""
	if b := f.backup(); b != nil && b.Pending > 0 {
		waiting = fmt.Sprintf(" (at %s %d objects had a change in no copy yet)", stamp(b.Time.Time), b.Pending)
	}
	return []string{fmt.Sprintf("router %s started at %s, and the backup %s%s: what one before it acknowledged between is not in the list",
		w.Name, stamp(w.Ledger.Started), far, waiting)}
}
