package stream

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// move makes an event of an object in a state of a move.
func (p *plane) move(kind, name string, state v1alpha1.RebalanceStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	labels := fmt.Sprintf(`"metadata":{"labels":{%q:%q},`, v1alpha1.LabelRebalanceStatus, state)
	p.log = append(p.log, strings.Replace(frame(kind, name, int64(len(p.log)+1), ""), `"metadata":{`, labels, 1))
	p.notify()
}

// moving judges objects that move from cell-1 to cell-2.
func moving(source string, o wire.Meta) (Kind, int64) {
	switch v1alpha1.RebalanceStatus(o.RebalanceStatus) {
	case v1alpha1.Incoming:
		return Hidden, 0
	case v1alpha1.Migrated:
		return Moved, 0
	}
	if source == "cell-1" {
		return Leaving, 1
	}
	return Arrived, 10
}

func TestAMoveIsAModification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newPlane(1), newPlane(2)
		from.write("ADDED", "x")
		c := run(t, Config{Judge: moving, Sources: []Source{from.source(t, 2), to.source(t, 1)}})
		from.move("MODIFIED", "x", v1alpha1.Migrating)
		c.expect("MODIFIED x 3001")
		to.move("ADDED", "x", v1alpha1.Incoming)
		from.move("MODIFIED", "x", v1alpha1.Migrated)
		synctest.Wait()
		to.write("MODIFIED", "x")
		c.expect("MODIFIED x 3002")
		from.move("DELETED", "x", v1alpha1.Migrated)
		synctest.Wait()
		to.write("MODIFIED", "x")
		c.expect("MODIFIED x 4002")
		c.finish()
		c.expect("the end")
	})
}

func TestLateEventsOfWhatHasArrivedAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newPlane(1), newPlane(2)
		c := run(t, Config{Bookmarks: true, Judge: moving, Sources: []Source{from.source(t, 1), to.source(t, 1)}})
		from.set(func() { from.frozen = true })
		from.write("ADDED", "x")
		from.move("MODIFIED", "x", v1alpha1.Migrating)
		from.move("MODIFIED", "x", v1alpha1.Migrated)
		from.write("ADDED", "y")
		from.write("DELETED", "y") // and made again where it moves to
		to.write("MODIFIED", "x")
		to.write("ADDED", "y")
		c.expect("MODIFIED x 2002", "ADDED y 3002")
		from.set(func() { from.frozen = false })
		synctest.Wait()
		c.expect("BOOKMARK 6 3")
		// Once its tombstone was seen nothing more is remembered of it.
		from.write("ADDED", "x")
		c.expect("ADDED x 7001")
		c.finish()
		c.expect("BOOKMARK 7 3", "the end")
	})
}

func TestInitialEventsAreCompleteWithWhatIsAboutToArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newPlane(1), newPlane(2)
		from.move("ADDED", "arrives", v1alpha1.Migrated)
		from.move("ADDED", "deleted", v1alpha1.Migrated)
		from.move("ADDED", "there", v1alpha1.Migrated)
		to.write("ADDED", "there")
		exists := func(_ context.Context, o wire.Meta) bool { return o.Name != "deleted" }
		c := run(t, Config{
			Bookmarks: true, InitialEnd: true, Judge: moving, Exists: exists,
			Sources: []Source{from.source(t, 0), to.source(t, 0)},
		})
		c.expect("ADDED there 2002")
		time.Sleep(arrivalLimit / 2)
		if len(c.events) > 0 {
			t.Errorf("%s comes before all initial events", c.next())
		}
		to.write("MODIFIED", "arrives")
		c.expect("MODIFIED arrives 3002", "BOOKMARK 4 3 end")
		c.finish()
		c.expect("the end")
	})
}

func TestWhatNeverArrivesDoesNotHoldUpTheEndForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newPlane(1), newPlane(2)
		from.move("ADDED", "x", v1alpha1.Migrated)
		c := run(t, Config{
			Bookmarks: true, InitialEnd: true, Judge: moving, Exists: func(context.Context, wire.Meta) bool { return true },
			Sources: []Source{from.source(t, 0), to.source(t, 0)},
		})
		start := time.Now()
		c.expect("BOOKMARK 2 1 end")
		if waited := time.Since(start); waited != arrivalLimit {
			t.Errorf("it waited %s; want %s", waited, arrivalLimit)
		}
		c.finish()
		c.expect("the end")
	})
}
