package printers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
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
		"CELL     BACKUP LAG                                                                             Mixed_Case   ",
		"cell-1   a long value that must never be wrapped however wide the table becomes by it, at all   x            ",
		"支付                                                                                            y            ",
		"",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
