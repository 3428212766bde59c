package placement

import (
	"crypto/md5"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/serialx/hashring"
)

// benchKeys are namespaces and names as they come in requests.
func benchKeys() (namespaces, names []string) {
	for i := range 4096 {
		namespaces = append(namespaces, fmt.Sprintf("ns-%04d", i%500))
		names = append(names, fmt.Sprintf("app-%06d", i*37))
	}
	return namespaces, names
}

// BenchmarkLookup places keys in a ring that grows by one cell: old, new and both backups in one
// lookup. The metric hashring/op is what hashring needs for one owner in one ring, measured in
// turn with the table's lookups so that a busy machine disturbs both; ratio is hashring's time
// divided by the table's.
func BenchmarkLookup(b *testing.B) {
	for _, cells := range []int{3, 8, 64} {
		b.Run(fmt.Sprint("cells=", cells), func(b *testing.B) {
			table := NewTable(mustRing(b, equalCells(cells), DefaultPointsPerWeight), mustRing(b, equalCells(cells+1), DefaultPointsPerWeight))
			points := map[string]int{}
			for _, m := range equalCells(cells) {
				points[m.Cell] = m.Weight * DefaultPointsPerWeight
			}
			ring := hashring.NewWithWeights(points)
			namespaces, names := benchKeys()
			var keys []string
			for i := range names {
				keys = append(keys, namespaces[i]+"/"+names[i])
			}
			var ours, theirs time.Duration
			const batch = 512
			lookups, moved := 0, 0
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				started := time.Now()
				for i := range batch {
					j := (lookups + i) & 4095
					p, _ := table.Lookup(NamespacedName, namespaces[j], names[j])
					if p.Moves() {
						moved++
					}
				}
				ours += time.Since(started)
				b.StopTimer()
				started = time.Now()
				for i := range batch {
					ring.GetNode(keys[(lookups+i)&4095])
				}
				theirs += time.Since(started)
				lookups += batch
				b.StartTimer()
			}
			b.ReportMetric(0, "ns/op") // one iteration is a batch
			b.ReportMetric(float64(ours.Nanoseconds())/float64(lookups), "ns/lookup")
			b.ReportMetric(float64(theirs.Nanoseconds())/float64(lookups), "ns/hashring")
			b.ReportMetric(float64(theirs)/float64(ours), "ratio")
			if lookups > 4096 && moved == 0 {
				b.Fatal("nothing moves")
			}
		})
	}
}

// BenchmarkHash compares the hash of a key of typical length with crypto/md5; the difference of a
// lookup to it is the table's share.
func BenchmarkHash(b *testing.B) {
	key := []byte("ns-0042/app-123456")
	k := newSines()
	var ours, theirs time.Duration
	const batch = 512
	for b.Loop() {
		started := time.Now()
		for range batch {
			key[17]++
			k.hashKey("ns-0042", string(key[8:]))
		}
		ours += time.Since(started)
		started = time.Now()
		for range batch {
			key[17]++
			md5.Sum(key)
		}
		theirs += time.Since(started)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*batch), "ns/hash")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N*batch), "ns/crypto-md5")
	b.ReportMetric(float64(theirs)/float64(ours), "ratio")
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
