package failover_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestReportSaysWhichRoutersAreTooYoung to know what waited when the backup spoke last: what one before them acknowledged then
// may be in no copy, however late the mark is.
func TestReportSaysWhichRoutersAreTooYoung(t *testing.T) {
	for name, test := range map[string]struct {
		with func(f *failover.Facts)
		want string // "" for nothing
	}{
		"nothing waited": {func(*failover.Facts) {}, ""},
		"a change waited since before it started": {func(f *failover.Facts) {
			f.Pending[schema.GroupResource{Group: "apps", Resource: "deployments"}] = noon.Add(-10 * time.Minute)
			f.Cells["cell-1"].Status.Backup.Pending = 4
		}, "router router-a started at 11:55:00, and the backup has come as far as 11:50:00 (at 12:00:00 4 objects had a change in no copy yet)"},
		"a change waited since after it started": {func(f *failover.Facts) { f.Pending[configs] = noon.Add(-2 * time.Minute) }, ""},
		"a backup that does not say what waits was late": {func(f *failover.Facts) {
			f.Pending = nil
			f.Cells["cell-1"].Status.BackupLag = &metav1.Duration{Duration: time.Hour}
		}, "router router-a started at 11:55:00, and the backup has come as far as 11:00:00"},
		"a backup says nothing of what waits": {func(f *failover.Facts) { f.Pending, f.Cells = nil, nil }, "router router-a started at 11:55:00, and the backup does not say how far it has come"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Witnesses[0].Ledger.Started = noon.Add(-5 * time.Minute)
			f.Cells["cell-1"] = countedCell(7, noon)
			test.with(f)
			got, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(got.Warnings, "\n")
			if says := strings.Contains(said, "router router-a started"); says != (test.want != "") || !strings.Contains(said, test.want) {
				t.Errorf("warnings %q; want %q", said, test.want)
			}
		})
	}
}
