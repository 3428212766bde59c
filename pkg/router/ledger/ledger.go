package ledger

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// DefaultLimit is how many writes are remembered of a cell: twenty megabytes, and more objects than are usually written
// while a backup daemon is replaced.
const DefaultLimit = 100_000

// Write is one that a cell has accepted.
type Write struct {
	Group, Resource, Namespace, Name, UID string
	// Version is the cell's own of the object, 0 where the answer had none.
	Version int64
	// Verb is that of the request, such as "patch".
	Verb string
	// Gone says that the object exists no more.
	Gone bool
	// At is when the cell had answered.
	At time.Time
}

// Ledger remembers writes by cell. It may be used by many goroutines at once.
type Ledger struct {
	limit int

	mu    sync.RWMutex // guards cells, not what is in them
	cells map[string]*cell
}

// New returns an empty Ledger that remembers up to limit writes of each cell.
func New(limit int) *Ledger { return &Ledger{limit: limit, cells: map[string]*cell{}} }

func (l *Ledger) cell(name string) *cell {
	l.mu.RLock()
	c := l.cells[name]
	l.mu.RUnlock()
	if c != nil {
		return c
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c = l.cells[name]; c == nil {
		c = &cell{limit: l.limit, resources: map[schema.GroupResource]*resource{}}
		l.cells[name] = c
	}
	return c
}

// Record remembers a write. It is called before the client gets its answer.
func (l *Ledger) Record(cell string, w Write) { l.cell(cell).record(w) }

// Observe says that a cell which was asked at a time had come as far as a version, or farther, by then.
func (l *Ledger) Observe(cell string, version int64, asked time.Time) {
	l.cell(cell).observe(version, asked)
}

// Reach says how far the backup of a cell has come.
func (l *Ledger) Reach(cell string, mark Mark) { l.cell(cell).reach(mark) }

// Keep forgets all cells but these.
func (l *Ledger) Keep(cells []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.cells {
		if !slices.Contains(cells, name) {
			delete(l.cells, name)
		}
	}
}

// Count is how much is remembered of a cell.
type Count struct {
	Cell string
	// Writes that are remembered now, and those that were given up ever for want of room.
	Writes, Dropped int
}

// Counts returns those of all cells, by name.
func (l *Ledger) Counts() []Count {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]Count, 0, len(l.cells))
	for name, c := range l.cells {
		writes, dropped := c.count()
		out = append(out, Count{Cell: name, Writes: writes, Dropped: dropped})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Compare(a.Cell, b.Cell) })
	return out
}
