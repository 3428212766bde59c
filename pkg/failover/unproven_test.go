package failover_test

import (
	"slices"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestReportSaysWhatWasNotRehearsed: it counts as protected, and may be refused.
func TestReportSaysWhatWasNotRehearsed(t *testing.T) {
	const want = "the backup has not rehearsed 3 copies yet: whether their cells would take them is not known"
	for unproven, said := range map[int64]bool{0: false, 3: true} {
		f := facts()
		f.Cells["cell-1"] = &v1alpha1.Cell{Status: v1alpha1.CellStatus{Backup: &v1alpha1.CellBackup{Unproven: unproven}}}
		got, err := failover.Report(f)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(got.Warnings, want) != said {
			t.Errorf("%d copies were not rehearsed, and the warnings are %q", unproven, got.Warnings)
		}
	}
}
