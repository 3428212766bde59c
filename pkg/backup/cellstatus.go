package backup

import (
	"cmp"
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

const (
	// mirrorManager of what the mirror reports: an apply by it leaves the conditions alone.
	mirrorManager = "kubecell-backup-mirror"
	// shownUnprotected is how many unprotected objects a Cell names.
	shownUnprotected = 20
)

// standing writes how the backup of a cell stands on the Cell of that UID.
func (r *reporter) standing(ctx context.Context, uid types.UID, report mirror.Report) error {
	return r.client.ApplyCellStatus(ctx, report.Cell, uid, mirrorManager, func(cell *v1alpha1.Cell) map[string]any {
		stands := backupOf(report)
		keepUnread(stands, cell.Status.Backup, report.Unread)
		return map[string]any{
			"backupLag": rounded(report.Oldest),
			"backup":    stands,
			"counts":    v1alpha1.CellCounts{Workloads: report.Workloads, Envelopes: report.Envelopes, Tombstones: report.Tombstones},
		}
	})
}

func backupOf(report mirror.Report) *v1alpha1.CellBackup {
	out := &v1alpha1.CellBackup{
		Time: metav1.NewTime(report.Time), Complete: report.Complete, Objects: report.Objects, Pending: report.Pending,
		Unprotected: int64(len(report.Unprotected)) + report.Unnamed, Unproven: report.Unproven,
	}
	for _, u := range report.Unprotected[:min(len(report.Unprotected), shownUnprotected)] {
		out.UnprotectedObjects = append(out.UnprotectedObjects, v1alpha1.UnprotectedObject{Object: u.Object, Cell: u.Backup, Reason: u.Reason, Message: u.Message})
	}
	for _, p := range report.Pairs {
		pair := v1alpha1.BackupPair{Cell: p.Backup, Envelopes: p.Envelopes, Pending: p.Pending, Unprotected: p.Unprotected}
		if p.Samples > 0 {
			pair.LagP50, pair.LagP99 = rounded(p.P50), rounded(p.P99)
		}
		out.Cells = append(out.Cells, pair)
	}
	return out
}

// keepUnread has the cells that have not said which envelopes they have stand as they did last. Nobody has seen them change since,
// nor rehearsed any of these envelopes.
func keepUnread(stands, last *v1alpha1.CellBackup, unread []string) {
	if last == nil {
		return
	}
	for _, pair := range last.Cells {
		if !slices.Contains(unread, pair.Cell) {
			continue
		}
		if pair.Time == nil {
			pair.Time = &last.Time
		}
		stands.Cells = append(stands.Cells, pair)
		stands.Unproven += pair.Envelopes
	}
	slices.SortFunc(stands.Cells, func(a, b v1alpha1.BackupPair) int { return cmp.Compare(a.Cell, b.Cell) })
}

func rounded(d time.Duration) *metav1.Duration {
	return &metav1.Duration{Duration: d.Round(time.Millisecond)}
}
