package placement

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenPlacement holds the placement of 500 keys in five pairs of rings to a file, so that it
// can never change by accident: a different answer would make live objects unreachable. If this
// test fails, the change is wrong, not the file.
func TestGoldenPlacement(t *testing.T) {
	t.Parallel()
	weighted := func(weights ...int) []Member {
		members := equalCells(len(weights))
		for i := range members {
			members[i].Weight = weights[i]
		}
		return members
	}
	var got bytes.Buffer
	fmt.Fprintln(&got, "# key | old cell, new cell, old backup, new backup, case")
	for _, rings := range []struct {
		name            string
		current, target []Member
		perWeight       int
	}{
		{"stable, 3 cells", equalCells(3), nil, DefaultPointsPerWeight},
		{"cell-6 joins", equalCells(5), equalCells(6), DefaultPointsPerWeight},
		{"cell-1 leaves, cell-9 joins", equalCells(8), equalCells(9)[1:], 100},
		{"weights change", weighted(100, 100, 100, 100), weighted(150, 100, 50, 100), 40},
		{"one cell", equalCells(1), equalCells(2), 1},
	} {
		current, target := mustRing(t, rings.current, rings.perWeight), (*Ring)(nil)
		if rings.target != nil {
			target = mustRing(t, rings.target, rings.perWeight)
		}
		table := NewTable(current, target)
		fmt.Fprintf(&got, "\n# %s, %d points per weight\n", rings.name, rings.perWeight)
		for i := range 500 {
			key := goldenKey(i)
			p, _ := table.LookupKey(key)
			fmt.Fprintf(&got, "%s | %s %s %s %s %d\n", key, p.Old(), p.New(), or(p.OldBackup()), or(p.NewBackup()), p.Case())
		}
	}
	path := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Fatalf("placement changed (-want +got):\n%s", diff)
	}
}

// goldenKey has keys of namespaced and cluster-scoped objects, of points, and long ones.
func goldenKey(i int) string {
	switch i % 10 {
	case 7:
		return fmt.Sprintf("cluster-scoped-%d", i)
	case 8:
		return fmt.Sprintf("cell-%d-%d", 1+i%5, i/10)
	case 9:
		return fmt.Sprintf("a-namespace-with-a-rather-long-name-%03d/and-an-application-of-the-same-kind", i)
	}
	return fmt.Sprintf("ns-%04d/app-%06d", i%23, i*7919)
}

func or(cell string) string {
	if cell == "" {
		return "-"
	}
	return cell
}
