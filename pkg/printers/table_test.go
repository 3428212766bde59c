package printers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAWideTable(t *testing.T) {
	var out strings.Builder
	table := Table{
		Header: []string{"CELL", "BACKUP LAG", "Mixed_Case"},
		Rows: [][]string{
			{"cell-1", "a long value that must never be wrapped however wide the table becomes by it, at all", "x"},
			{"支付", "", "y"},
		},
	}
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"CELL    BACKUP LAG                                                                            Mixed_Case",
		"cell-1  a long value that must never be wrapped however wide the table becomes by it, at all  x",
		"支付                                                                                          y",
		"",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestATableOnAScreen has the widest row that keeps kubectl's three spaces, those behind the last column counted, and one
// more.
func TestATableOnAScreen(t *testing.T) {
	for _, tc := range []struct {
		width int
		want  string
	}{
		{71, "A" + strings.Repeat(" ", 73) + "B     "},
		{72, "A" + strings.Repeat(" ", 73) + "B"},
	} {
		var out strings.Builder
		if err := (Table{Header: []string{"A", "B"}, Rows: [][]string{{strings.Repeat("a", tc.width), "bbb"}}}).Write(&out); err != nil {
			t.Fatal(err)
		}
		if header, _, _ := strings.Cut(out.String(), "\n"); header != tc.want {
			t.Errorf("width %d: %q; want %q", tc.width, header, tc.want)
		}
	}
}
