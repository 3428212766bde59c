package stream

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// memory is a Past that is told what to say. Its fields are by name.
type memory struct {
	behind     int64
	elsewhere  map[string]int64
	gone, lost map[string]bool
	err        error
	asked      []string
}

func (m *memory) Behind(_ string, version int64) bool { return version <= m.behind }

func (m *memory) Before(source string, o wire.Meta) (rank int64, gone bool, err error) {
	m.asked = append(m.asked, source+" "+o.Name)
	return m.elsewhere[o.Name], m.gone[o.Name], m.err
}

func (m *memory) Lost(_ string, o wire.Meta, told bool) (bool, error) {
	return m.lost[o.Name] && told, nil
}

// laggards are two planes of which the one that x and y moved from has yet to tell of that, to a client that has them
// from where they moved to.
func laggards() (from, to *plane) {
	from, to = newPlane(1), newPlane(2)
	from.write("ADDED", "x")
	from.write("ADDED", "y")
	from.move("MODIFIED", "x", v1alpha1.Migrating)
	from.move("MODIFIED", "x", v1alpha1.Migrated)
	from.write("DELETED", "y") // and made again where it moves to
	to.write("ADDED", "x")
	to.write("ADDED", "y")
	return from, to
}

func TestWhatTheClientHasFromElsewhereStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		past := &memory{behind: 6, elsewhere: map[string]int64{"x": 10, "y": 10}}
		c := run(t, Config{Bookmarks: true, Judge: moving, Past: past, Sources: []Source{from.source(t, 3), to.source(t, 3)}})
		c.expect("BOOKMARK 6 3")
		to.write("MODIFIED", "x")
		c.expect("MODIFIED x 4002")
		c.finish()
		<-c.end
		if got := len(past.asked); got != 3 {
			t.Errorf("it asked for %q; want x and y in cell-1, and x in cell-2, each once", past.asked)
		}
	})
}

func TestNothingIsAskedAboutWhatIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		past := &memory{behind: 3, err: errors.New("nobody may ask")}
		c := run(t, Config{Judge: moving, Past: past, Sources: []Source{from.source(t, 3), to.source(t, 3)}})
		c.expect("MODIFIED x 4001", "DELETED y 6001")
		c.finish()
		<-c.end
	})
}

func TestNothingIsAskedAboutWhatDoesNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		stays := func(string, wire.Meta) (Kind, int64) { return Shown, 0 }
		past := &memory{behind: 6, err: errors.New("nobody may ask")}
		c := run(t, Config{Judge: stays, Past: past, Sources: []Source{from.source(t, 5), to.source(t, 3)}})
		c.expect("DELETED y 6001")
		c.finish()
		<-c.end
	})
}

func TestWhatIsLostEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		past := &memory{behind: 6, gone: map[string]bool{"x": true}, lost: map[string]bool{"x": true}}
		c := run(t, Config{Judge: moving, Past: past, Sources: []Source{from.source(t, 3), to.source(t, 3)}})
		c.expect("MODIFIED x 4001", `ERROR "reason":"Expired"`, "the end")
	})
}

// Whoever began behind the move has nothing to lose, however often something writes the tombstone.
func TestATombstoneThatChangesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		for range 3 {
			from.move("MODIFIED", "x", v1alpha1.Migrated)
		}
		past := &memory{behind: 9, gone: map[string]bool{"x": true}, lost: map[string]bool{"x": true}}
		c := run(t, Config{Bookmarks: true, Judge: moving, Past: past, Sources: []Source{from.source(t, 6), to.source(t, 3)}})
		c.expect("BOOKMARK 9 3")
	})
}

func TestWhereThePastIsNotKnownTheStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := laggards()
		past := &memory{behind: 6, err: errors.New("it does not answer")}
		c := run(t, Config{Judge: moving, Past: past, Sources: []Source{from.source(t, 3), to.source(t, 3)}})
		c.expect(`ERROR "reason":"Expired"`, "the end")
	})
}
