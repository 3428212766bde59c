package backup

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
)

func TestBackupsAreReadFromMetrics(t *testing.T) {
	const metrics = `# HELP kubecell_backup_pair_envelopes Envelopes of one cell in another.
kubecell_backup_lag_quantile_seconds{backup="cell-2",quantile="0.5",source="cell-1"} 0.012
kubecell_backup_lag_quantile_seconds{backup="cell-2",quantile="0.99",source="cell-1"} 0.25
kubecell_backup_lag_seconds_bucket{backup="cell-2",source="cell-1",le="0.005"} 3
kubecell_backup_leader 1
kubecell_backup_pair_envelopes{backup="cell-1",source="cell-2"} 1e+06
kubecell_backup_pair_envelopes{backup="cell-2",source="cell-1"} 7
kubecell_backup_pair_pending{backup="",source="cell-1"} 0
kubecell_backup_pair_pending{backup="cell-2",source="cell-1"} 2
kubecell_backup_pair_unprotected{backup="",source="cell-2"} 4
kubecell_backup_pair_unprotected{backup="cell-1",source="cell-2"} 1
kubecell_backup_pair_unprotected{backup="cell-3",source="cell-2"} 2
kubecell_backup_pending{source="cell-1"} 2
kubecell_backup_pending{source="cell-2"} 0
kubecell_backup_unprotected{source="cell-1"} 0
kubecell_backup_unprotected{source="cell-2"} 7
`
	want := []launch.Backup{
		{Source: "cell-1", Cell: "cell-2", Envelopes: 7, LagP50: .012, LagP99: .25, Pending: 2},
		{Source: "cell-2", Unread: true, Unprotected: 4},
		{Source: "cell-2", Cell: "cell-1", Envelopes: 1_000_000, Unprotected: 1},
		{Source: "cell-2", Cell: "cell-3", Unread: true, Unprotected: 2},
	}
	if diff := cmp.Diff(want, backupsIn(metrics)); diff != "" {
		t.Errorf("backups (-want +got):\n%s", diff)
	}
	if got := backupsIn("nonsense\n"); len(got) != 0 {
		t.Errorf("of nonsense: %v", got)
	}
}
