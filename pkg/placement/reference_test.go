package placement

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/serialx/hashring"
)

// hashKey64 hands our hash to hashring, which compares keys by Less alone.
type hashKey64 uint64

func (k hashKey64) Less(other hashring.HashKey) bool { return k < other.(hashKey64) }

// newHashring is the definition of correct: hashring over xxHash64, whose weights are numbers of
// points.
func newHashring(points map[string]int) *hashring.HashRing {
	return hashring.NewWithHashAndWeights(points, func(key []byte) hashring.HashKey {
		return hashKey64(xxhash.Sum64(key))
	})
}

// reference answers from hashring.
type reference struct {
	points  map[string]int
	ring    *hashring.HashRing
	without map[string]*hashring.HashRing // by the cell that is left out; filled on demand
}

func newReference(members []Member, pointsPerWeight int) *reference {
	r := &reference{points: map[string]int{}, without: map[string]*hashring.HashRing{}}
	for _, m := range members {
		r.points[m.Cell] = m.Weight * pointsPerWeight
	}
	r.ring = newHashring(r.points)
	return r
}

// place answers the owner of a key and its owner in the ring without that one, "" if there is
// none.
func (r *reference) place(key string) (owner, backup string) {
	owner, _ = r.ring.GetNode(key)
	rest, known := r.without[owner]
	if !known {
		points := map[string]int{}
		for cell, n := range r.points {
			if cell != owner {
				points[cell] = n
			}
		}
		rest = newHashring(points)
		r.without[owner] = rest
	}
	backup, _ = rest.GetNode(key)
	return owner, backup
}

// disagreement compares table and references for a key; "" if they agree.
func disagreement(t *Table, current, target *reference, key string) string {
	p, ok := t.LookupKey(key)
	if !ok {
		return "not placed"
	}
	old, oldBackup := current.place(key)
	owner, backup := target.place(key)
	if p.Old() != old || p.OldBackup() != oldBackup || p.New() != owner || p.NewBackup() != backup {
		return fmt.Sprintf("key %q: table says %v; hashring says %s→%s, backup %s→%s",
			key, p, old, owner, oldBackup, backup)
	}
	return ""
}

// TestAgreesWithHashring compares at least a million random keys over 220 random pairs of rings,
// which differ by joins, leaves and weights: owner and backup, in both rings.
func TestAgreesWithHashring(t *testing.T) {
	const workers, keys = 2, 4600
	pairs := 110
	if !thorough {
		pairs = 8
	}
	for worker := range workers {
		t.Run(fmt.Sprint("seed ", worker), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for range pairs {
				perWeight := 1 + rng.IntN(20)
				members := randomMembers(rng, 1+rng.IntN(12), 12)
				changed := randomChange(rng, members, 12)
				table := NewTable(mustRing(t, members, perWeight), mustRing(t, changed, perWeight))
				current, target := newReference(members, perWeight), newReference(changed, perWeight)
				for range keys {
					if d := disagreement(table, current, target, randomKey(rng)); d != "" {
						t.Fatalf("%s\ncurrent %v\ntarget %v\npoints per weight %d", d, members, changed, perWeight)
					}
				}
			}
		})
	}
}

// TestAgreesWithHashringAtDefaultPoints does the same for a ring as people have it.
func TestAgreesWithHashringAtDefaultPoints(t *testing.T) {
	t.Parallel()
	members, changed := equalCells(4), equalCells(5)
	changed[0].Weight = 150
	keys := 50_000
	if !thorough {
		keys = 2_000
	}
	table := NewTable(mustRing(t, members, DefaultPointsPerWeight), mustRing(t, changed, DefaultPointsPerWeight))
	current, target := newReference(members, DefaultPointsPerWeight), newReference(changed, DefaultPointsPerWeight)
	rng := rand.New(rand.NewPCG(2, 0))
	for range keys {
		if d := disagreement(table, current, target, randomKey(rng)); d != "" {
			t.Fatal(d)
		}
	}
}

// TestKeyOnPoint looks up keys that are hashed exactly like points ("cell-1-0"): the point itself
// does not own them, the next one does.
func TestKeyOnPoint(t *testing.T) {
	t.Parallel()
	members, changed := equalCells(3), equalCells(4)
	table := NewTable(mustRing(t, members, 3), mustRing(t, changed, 3))
	current, target := newReference(members, 3), newReference(changed, 3)
	for _, m := range changed {
		for i := range m.Weight*3 + 1 {
			if d := disagreement(table, current, target, fmt.Sprintf("%s-%d", m.Cell, i)); d != "" {
				t.Fatal(d)
			}
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("ns-0042/app-123456", uint64(1), uint8(3), uint8(7))
	f.Add("cell-1-0", uint64(2), uint8(1), uint8(1))
	f.Add("", uint64(3), uint8(12), uint8(20))
	f.Add("a key of more than the thirty-two bytes that xxHash64 takes in at once, and some more", uint64(4), uint8(2), uint8(2))
	f.Fuzz(func(t *testing.T, key string, seed uint64, cells, perWeight uint8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		points := 1 + int(perWeight%8)
		members := randomMembers(rng, 1+int(cells%6), 6)
		changed := randomChange(rng, members, 6)
		table := NewTable(mustRing(t, members, points), mustRing(t, changed, points))
		if d := disagreement(table, newReference(members, points), newReference(changed, points), key); d != "" {
			t.Fatalf("%s\ncurrent %v\ntarget %v\npoints per weight %d", d, members, changed, points)
		}
	})
}
