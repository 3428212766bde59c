package failover_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestGateWithoutAMark: that no router remembers an object says nothing where no backup was ever complete. What is missing by
// the last count has to be accepted, and where nobody has counted everything, any loss.
func TestGateWithoutAMark(t *testing.T) {
	half := countedCell(1, noon)
	half.Status.Backup.Complete = false
	counted := countedCell(5, noon)
	counted.Status.Backup.Pending = 4
	for name, test := range map[string]struct {
		cell    *v1alpha1.Cell
		accept  int64
		unknown int64
		warning string
		why     string // "" for that it opens
		hint    string
	}{
		"counted": {
			counted, 3, 4, "at 12:00:00 it counted 5 objects, of which 4 had a change in no copy yet",
			"4 objects would be lost or lack a write (of 4 there is a number, and no name), and 3 are accepted", "--accept-loss=4",
		},
		"counted, and accepted": {counted, 4, 4, "no backup has ever said how far it has come", "", ""},
		"all have copies":       {countedCell(1, noon), 0, 0, "no backup has ever said how far it has come", "", ""},
		"nobody has counted": {
			nil, 1000, 0, "how many have no copy cannot be known", "nobody knows how many objects of cell cell-1 have no copy", "--accept-loss=all",
		},
		"a daemon that had not read everything": {
			half, 1000, 0, "how many have no copy cannot be known", "nobody knows how many objects of cell cell-1 have no copy", "--accept-loss=all",
		},
		"any loss is accepted": {nil, failover.AcceptAll, 0, "how many have no copy cannot be known", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Mark = nil
			if test.cell != nil {
				f.Cells["cell-1"] = test.cell
			}
			copied(t, f, "x", "1", "10", false)
			found, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			if found.Protected != 1 || found.Unknown != test.unknown || !strings.Contains(strings.Join(found.Warnings, "\n"), test.warning) {
				t.Errorf("protected %d, unknown %d, warnings %q; want 1, %d, %q", found.Protected, found.Unknown, found.Warnings, test.unknown, test.warning)
			}
			err = failover.Gate(f, &found.FailoverReport, &v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: 42, AcceptLoss: test.accept})
			wantGate(t, err, test.why, test.hint)
		})
	}
}

// TestACellDiesBeforeItsFirstBackupIsComplete: it had objects before there were routers, and the first daemon has made copies of
// some of them. By name nobody tells of the others.
func TestACellDiesBeforeItsFirstBackupIsComplete(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(6)
	b.publish("cell-1", b.ring().Status.Epoch)
	b.forgotten("cell-1")
	b.unmark("cell-1")
	b.backUp(ours[:4]...)
	b.dies("cell-1")
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch, AcceptLoss: 1000}
	refused := func(unknown int64, flag string) {
		t.Helper()
		started, err := failover.Start(t.Context(), b.rcp, spec, true)
		b.must(err)
		refusal, ok := errors.AsType[*exit.Error](started.Refused)
		if found := started.Finding; found.Protected != 4 || len(found.Lost) > 0 || found.Unknown != unknown || !ok || !strings.Contains(refusal.Hint(exit.Plugin), flag) {
			t.Errorf("protected %d, lost %v, unknown %d, refused: %v; want 4, none, %d, and a refusal that hints at %s", found.Protected, found.Lost, found.Unknown, started.Refused, unknown, flag)
		}
	}
	refused(0, "--accept-loss=all")
	b.count("cell-1", int64(len(ours)))
	spec.AcceptLoss = 1
	refused(2, "--accept-loss=2")
	spec.AcceptLoss = 2
	run := b.carryOut(b.order(spec).Name, v1alpha1.FailoverSucceeded)
	if run.Status.Report.Unknown != 2 || !slices.ContainsFunc(run.Status.Report.Warnings, func(w string) bool { return strings.Contains(w, "it counted 6 objects") }) {
		t.Errorf("report: %+v", run.Status.Report)
	}
	b.usable("cell-1", "1", ours[:4]...)
}
