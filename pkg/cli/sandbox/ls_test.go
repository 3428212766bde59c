package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

func TestListOnANarrowTerminal(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("a", 63)
	list := []sandbox.Status{{
		Name: long, State: sandbox.Degraded, CellsUp: 2, Cells: make([]sandbox.Part, 3), Created: now.Add(-time.Hour),
		Router: sandbox.Part{Address: "https://127.0.0.1:20000"},
	}}
	var out strings.Builder
	if err := table(list, printers.Layout{Columns: 40}, now).Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "NAME:   " + long + "\nSTATE:  Degraded\nCELLS:  2/3\nROUTER: https://127.0.0.1:20000\nAGE:    60m\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("at 40 columns (-want +got):\n%s", diff)
	}
}
