package placement

import (
	"crypto/md5"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// benchKeys are namespaces and names as they come in requests.
func benchKeys() (namespaces, names []string) {
	for i := range 4096 {
		namespaces = append(namespaces, fmt.Sprintf("ns-%04d", i%500))
		names = append(names, fmt.Sprintf("app-%06d", i*37))
	}
	return namespaces, names
}

// rival runs two ways to do a thing in turn, so that a busy machine disturbs both, and reports the
// time per operation of the least disturbed batch of each, and how many times longer theirs takes.
type rival struct {
	batch         int
	ours, theirs  func(i int)
	unit, against string
}

func (r rival) run(b *testing.B) {
	best := [2]time.Duration{1 << 62, 1 << 62}
	next := 0
	for b.Loop() {
		for side, do := range []func(int){r.ours, r.theirs} {
			started := time.Now()
			for i := next; i < next+r.batch; i++ {
				do(i)
			}
			best[side] = min(best[side], time.Since(started))
		}
		next += r.batch
	}
	b.ReportMetric(0, "ns/op") // an operation is two batches, which tells nothing
	b.ReportMetric(testing.AllocsPerRun(10, func() { r.ours(next) }), "allocs/"+r.unit)
	b.ReportMetric(float64(best[0].Nanoseconds())/float64(r.batch), "ns/"+r.unit)
	b.ReportMetric(float64(best[1].Nanoseconds())/float64(r.batch), "ns/"+r.against)
	b.ReportMetric(float64(best[1])/float64(best[0]), "ratio")
}

// BenchmarkLookup places keys in a ring that grows by one cell: old, new and both backups in one
// lookup. The other side is what hashring needs with the same hash for one owner in one ring.
func BenchmarkLookup(b *testing.B) {
	for _, cells := range []int{3, 8, 64} {
		b.Run(fmt.Sprint("cells=", cells), func(b *testing.B) {
			table := NewTable(mustRing(b, equalCells(cells), DefaultPointsPerWeight), mustRing(b, equalCells(cells+1), DefaultPointsPerWeight))
			points := map[string]int{}
			for _, m := range equalCells(cells) {
				points[m.Cell] = m.Weight * DefaultPointsPerWeight
			}
			ring := newHashring(points)
			namespaces, names := benchKeys()
			keys := make([]string, len(names))
			for i := range names {
				keys[i] = namespaces[i] + "/" + names[i]
			}
			moved := 0
			rival{
				batch: 4096, unit: "lookup", against: "hashring",
				ours: func(i int) {
					p, _ := table.Lookup(NamespacedName, namespaces[i&4095], names[i&4095])
					if p.Moves() {
						moved++
					}
				},
				theirs: func(i int) { ring.GetNode(keys[i&4095]) },
			}.run(b)
			if moved == 0 {
				b.Fatal("nothing moves")
			}
		})
	}
}

// BenchmarkHash compares the hash of a key of typical length with md5, which hashring takes where
// it is given no other; what a lookup takes longer than it is the table's part.
func BenchmarkHash(b *testing.B) {
	key := []byte("ns-0042/app-123456")
	rival{
		batch: 4096, unit: "hash", against: "crypto-md5",
		ours: func(i int) {
			key[17] = byte(i)
			hashKey("ns-0042", string(key[8:]))
		},
		theirs: func(i int) {
			key[17] = byte(i)
			md5.Sum(key)
		},
	}.run(b)
}

// BenchmarkBuildTable builds both rings and the table for 64 cells of which one joins, and states
// the memory that they hold.
func BenchmarkBuildTable(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var table *Table
	for b.Loop() {
		table = NewTable(mustRing(b, equalCells(63), DefaultPointsPerWeight), mustRing(b, equalCells(64), DefaultPointsPerWeight))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
	b.ReportMetric(float64(table.Target().Points()), "points")
	runtime.KeepAlive(table)
}
