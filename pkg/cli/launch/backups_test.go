package launch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

func TestBackupsOnANarrowTerminal(t *testing.T) {
	all := []Backup{
		{Source: "cell-1", Cell: "cell-2", Envelopes: 12345, LagP50: 0.25, LagP99: 1.5, Pending: 7, Unprotected: 1},
		{Source: "cell-1", Cell: "cell-3"},
	}
	var out strings.Builder
	if err := backups(all, printers.Layout{Columns: 40}).Write(&out); err != nil {
		t.Fatal(err)
	}
	want := `FROM:        cell-1
IN:          cell-2
ENVELOPES:   12,345
LAG-P50:     0.250s
LAG-P99:     1.500s
PENDING:     7
UNPROTECTED: 1 !

FROM:        cell-1
IN:          cell-3
ENVELOPES:   0
LAG-P50:     0.000s
LAG-P99:     0.000s
PENDING:     0
UNPROTECTED: 0
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("at 40 columns (-want +got):\n%s", diff)
	}
}
