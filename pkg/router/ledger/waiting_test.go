package ledger

import (
	"fmt"
	"testing"
	"time"
)

// TestDeletionsAreNotKeptForAVersionThatNeverComes: where a cell's position cannot be sampled, the limit bounds them too.
func TestDeletionsAreNotKeptForAVersionThatNeverComes(t *testing.T) {
	const limit = 10
	l := New(limit)
	for i := range 100 * limit {
		l.Record("cell-1", Write{Resource: "configmaps", Name: fmt.Sprint("x-", i), UID: fmt.Sprint(i), Verb: "delete", Gone: true, At: time.Unix(int64(i), 0)})
	}
	c := l.cells["cell-1"]
	if len(c.unversioned) > 2*limit || len(c.unversioned) < limit {
		t.Errorf("%d deletions wait for their version; want those of the last %d, and at most twice as many", len(c.unversioned), limit)
	}
	c.observe(7, time.Unix(int64(200*limit), 0))
	for _, r := range c.resources {
		for _, e := range r.entries {
			if e.version != 7 {
				t.Errorf("%s has no version after a sample", e.name)
			}
		}
	}
}
