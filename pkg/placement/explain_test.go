package placement

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	table := NewTable(mustRing(t, equalCells(3), 10), mustRing(t, equalCells(4), 10))
	rng := rand.New(rand.NewPCG(10, 0))
	for range 500 {
		key := randomKey(rng)
		why, ok := table.Explain(key)
		p, _ := table.LookupKey(key)
		if !ok || why.Key != key || why.Hash != fmt.Sprintf("%016x", xxhash.Sum64String(key)) || why.Case != p.Case() {
			t.Fatalf("%q: %+v", key, why)
		}
		got := []string{why.Current.Owner.Cell, why.Target.Owner.Cell, why.Current.Backup.Cell, why.Target.Backup.Cell}
		if diff := cmp.Diff([]string{p.Old(), p.New(), p.OldBackup(), p.NewBackup()}, got); diff != "" {
			t.Fatalf("%q: %s", key, diff)
		}
		// The points lie after the key: nothing of any cell between the key and the owner's
		// point, and nothing of another cell between that and the backup's.
		h, owner, backup := hashKey("", key), why.Target.Owner, *why.Target.Backup
		toOwner := hashPoint(owner.Cell, owner.Index) - h - 1
		toBackup := hashPoint(backup.Cell, backup.Index) - h - 1
		for _, other := range table.Target().points {
			d := other.hash - h - 1
			if d < toOwner || table.Target().members[other.cell].Cell != owner.Cell && d < toBackup {
				t.Fatalf("%q: a point lies before %v or %v", key, owner, backup)
			}
		}
	}
}

func TestExplainJSON(t *testing.T) {
	t.Parallel()
	why, _ := NewTable(mustRing(t, equalCells(1), 1), nil).Explain("ns/app")
	data, err := json.Marshal(why)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"key":"ns/app","hash":"%016x","current":{"owner":{"cell":"cell-1","index":%d}},"target":{"owner":{"cell":"cell-1","index":%[2]d}},"case":4}`,
		xxhash.Sum64String("ns/app"), why.Current.Owner.Index)
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Fatal(diff)
	}
	if got := (Point{Cell: "cell-3", Index: 117}).String(); got != "cell-3#117" {
		t.Fatal(got)
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()
	table := NewTable(mustRing(t, equalCells(4), 20), mustRing(t, equalCells(5), 20))
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("ns/app-%d", i))
	}
	moves := slices.Collect(table.Moves(slices.Values(keys)))
	var want []Move
	for _, key := range keys {
		if p, _ := table.LookupKey(key); p.Old() != p.New() || p.OldBackup() != p.NewBackup() {
			want = append(want, Move{key, p.Old(), p.New(), p.Case(), p.OldBackup(), p.NewBackup()})
		}
	}
	if diff := cmp.Diff(want, moves); diff != "" {
		t.Fatal(diff)
	}
	if len(moves) == 0 || len(moves) == len(keys) {
		t.Fatalf("%d moves of %d", len(moves), len(keys))
	}
	for range table.Moves(slices.Values(keys)) {
		break // a consumer may stop
	}
	if rest := slices.Collect(NewTable(nil, nil).Moves(slices.Values(keys))); rest != nil {
		t.Fatalf("an empty ring moves %v", rest)
	}
}
