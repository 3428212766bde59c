package failover_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// configs is the resource of all objects here.
var configs = schema.GroupResource{Resource: "configmaps"}

var noon = time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)

func layout(cells ...string) *v1alpha1.RingLayout {
	l := &v1alpha1.RingLayout{PointsPerWeight: 10}
	for _, cell := range cells {
		l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	return l
}

func ring(cells ...string) *v1alpha1.Ring {
	r := &v1alpha1.Ring{Spec: v1alpha1.RingSpec{RingLayout: *layout(cells...)}}
	r.Status = v1alpha1.RingStatus{Epoch: 42, Phase: v1alpha1.RingStable, Current: layout(cells...)}
	return r
}

// own is a name that begins so and whose key is in cell-1.
func own(name string) string {
	snap, err := routing.FromRing(ring("cell-1", "cell-2", "cell-3"))
	for i := 0; err == nil; i++ {
		full := fmt.Sprintf("%s-%d", name, i)
		if p, _ := snap.Table.LookupKey("ns/" + full); p.Old() == "cell-1" {
			return full
		}
	}
	panic(err)
}

// heir is the cell that a key maps to once cell-1 has left a ring of three.
func heir(t *testing.T, unit string) string {
	t.Helper()
	snap, err := routing.FromRing(ring("cell-2", "cell-3"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := snap.Table.LookupKey(unit)
	return p.Old()
}

// facts are of cell-1, which answers nobody. Two routers say so.
func facts() *failover.Facts {
	witness := func(name string) failover.Witness {
		w := failover.Witness{
			Router: routers.Router{Name: name, Epoch: 42},
			Ledger: ledger.Report{Complete: true, Started: noon.Add(-time.Hour)},
		}
		w.Renewed = noon.Add(-time.Second)
		return w
	}
	return &failover.Facts{
		Cell: "cell-1", Now: noon, Ring: ring("cell-1", "cell-2", "cell-3"), Cells: map[string]*v1alpha1.Cell{},
		Mark:      &ledger.Mark{Cell: "cell-1", Time: noon.Add(-time.Minute), Resources: map[schema.GroupResource]int64{configs: 100}},
		Pending:   map[schema.GroupResource]time.Time{},
		Witnesses: []failover.Witness{witness("router-a"), witness("router-b")},
		Survivors: []failover.Survivor{{Cell: "cell-2"}, {Cell: "cell-3"}},
	}
}

// copied puts a copy of a config map into the cell that is going to have it, or into another one.
func copied(t *testing.T, f *failover.Facts, name, uid, version string, elsewhere bool) {
	t.Helper()
	name = own(name)
	unit := "ns/" + name
	cell := heir(t, unit)
	if elsewhere {
		cell = map[string]string{"cell-2": "cell-3", "cell-3": "cell-2"}[cell]
	}
	c := failover.Copy{Secret: envelope.Name("", "configmaps", "ns", name), Header: envelope.Header{
		Version: "v1", Resource: "configmaps", Kind: "ConfigMap", Namespace: "ns", Name: name,
		UID: types.UID(uid), ResourceVersion: version, Unit: unit, SourceCell: "cell-1", BackupCell: cell,
	}}
	for i := range f.Survivors {
		if f.Survivors[i].Cell == cell {
			f.Survivors[i].Copies = append(f.Survivors[i].Copies, c)
		}
	}
}

func wrote(f *failover.Facts, router int, name, uid, version string, ago time.Duration, gone bool) {
	w := &f.Witnesses[router]
	w.Ledger.Entries = append(w.Ledger.Entries, ledger.Entry{
		Cell: "cell-1", Resource: "configmaps", Namespace: "ns", Name: own(name), UID: uid, Version: version, Gone: gone, Time: noon.Add(-ago),
	})
}

// handed has a survivor say that it handed the object to the cell, so long ago.
func handed(f *failover.Facts, name string, ago time.Duration) {
	f.Survivors[0].Handed = append(f.Survivors[0].Handed, failover.Handed{
		Resource: "configmaps", Namespace: "ns", Name: own(name), Time: noon.Add(-ago),
	})
}

func TestReportNamesWhatIsLost(t *testing.T) {
	tests := map[string]struct {
		with      func(t *testing.T, f *failover.Facts)
		protected int64
		lost      string
		stale     string
		dropped   string
	}{
		"a copy that no router knows better": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "10", false)
		}, 1, "", "", ""},
		"a copy with the last write": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "10", false)
			wrote(f, 0, "x", "1", "10", time.Second, false)
		}, 1, "", "", ""},
		"a copy that was quicker than the answer": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "11", false)
			wrote(f, 0, "x", "1", "10", time.Second, false)
		}, 1, "", "", ""},
		"a copy that lacks a write": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			wrote(f, 0, "x", "1", "9", time.Minute, false)
			wrote(f, 1, "x", "1", "10", time.Second, false)
		}, 0, "", "configmaps/ns/x", ""},
		"versions are numbers": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "100", false)
			wrote(f, 0, "x", "1", "99", time.Second, false)
		}, 1, "", "", ""},
		"no copy": {func(_ *testing.T, f *failover.Facts) {
			wrote(f, 1, "x", "1", "10", time.Second, false)
		}, 0, "configmaps/ns/x", "", ""},
		"a copy where the ring does not look": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "10", true)
		}, 0, "configmaps/ns/x", "", ""},
		"deleted, and the backup knows": {func(_ *testing.T, f *failover.Facts) {
			wrote(f, 0, "x", "1", "10", time.Second, true)
		}, 0, "", "", ""},
		"deleted, and the backup does not know": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			wrote(f, 0, "x", "1", "9", time.Minute, false)
			wrote(f, 1, "x", "1", "10", time.Second, true)
		}, 0, "", "", "x"},
		"deleted, and the backup does not know of a copy where the ring does not look": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", true)
			wrote(f, 0, "x", "1", "10", time.Second, true)
		}, 0, "", "", "x"},
		"deleted and made again, and the backup has the first": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			wrote(f, 0, "x", "1", "10", time.Minute, true)
			wrote(f, 0, "x", "2", "11", time.Second, false)
		}, 0, "configmaps/ns/x", "", "x"},
		"deleted and made again, and the backup has the second": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "2", "11", false)
			wrote(f, 0, "x", "1", "10", time.Minute, true)
			wrote(f, 1, "x", "2", "11", time.Second, false)
		}, 1, "", "", ""},
		"no copy, and it has moved": {func(_ *testing.T, f *failover.Facts) {
			wrote(f, 1, "x", "1", "10", time.Second, false)
			f.Moved = map[string]bool{"configmaps/ns/" + own("x"): true}
		}, 0, "", "", ""},
		"no copy, and its key has left the cell": {func(_ *testing.T, f *failover.Facts) {
			wrote(f, 1, "y", "1", "10", time.Second, false)
			f.Ring.Status.Current = layout("cell-2", "cell-3")
			f.Ring.Status.Current.Members = append(f.Ring.Status.Current.Members, v1alpha1.RingMember{Cell: "cell-1", Weight: 1})
		}, 0, "", "", ""},
		"no copy, and the backup says so": {func(_ *testing.T, f *failover.Facts) {
			f.Unprotected = []mirror.Unprotected{{Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Since: noon.Add(-time.Hour)}}
		}, 0, "configmaps/ns/x", "", ""},
		"an old copy, and the backup says so": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			f.Unprotected = []mirror.Unprotected{{Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Since: noon.Add(-time.Hour)}}
		}, 0, "", "configmaps/ns/x", ""},
		"a copy that its cell would refuse": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "10", false)
			f.Unprotected = []mirror.Unprotected{{
				Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Backup: heir(t, "ns/"+own("x")), Reason: mirror.Refused, Envelope: true,
			}}
		}, 0, "configmaps/ns/x", "", ""},
		"a copy that another cell would have refused": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "10", false)
			f.Unprotected = []mirror.Unprotected{{
				Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Backup: "cell-9", Reason: mirror.Refused, Envelope: true,
			}}
		}, 1, "", "", ""},
		"a copy that would be refused, and the object was deleted since": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			f.Unprotected = []mirror.Unprotected{{
				Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Backup: heir(t, "ns/"+own("x")), Reason: mirror.Refused, Envelope: true,
			}}
			wrote(f, 0, "x", "1", "10", time.Second, true)
		}, 0, "", "", "x"},
		"no copy, and it was deleted since": {func(_ *testing.T, f *failover.Facts) {
			f.Unprotected = []mirror.Unprotected{{Resource: "configmaps", Namespace: "ns", Name: own("x"), UID: "1", Since: noon.Add(-time.Hour)}}
			wrote(f, 0, "x", "1", "10", time.Second, true)
		}, 0, "", "", ""},
		"a move brought it, and no copy is there yet": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 30*time.Second)
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it in the moment in which the backup spoke last": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", time.Minute+time.Second)
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it before the backup spoke last": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 2*time.Minute)
		}, 0, "", "", ""},
		"a move brought it before the backup spoke last, and after what waited then": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 2*time.Minute)
			f.Pending[configs] = noon.Add(-2*time.Minute - time.Second)
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it before anything that waited": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 4*time.Minute)
			f.Pending[configs] = noon.Add(-2 * time.Minute)
		}, 0, "", "", ""},
		"a move brought it, and what waited is of another kind": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 2*time.Minute)
			f.Pending[schema.GroupResource{Resource: "secrets"}] = noon.Add(-time.Hour)
		}, 0, "", "", ""},
		"a move brought it, of a kind that the backup is not told of yet": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", time.Hour)
			delete(f.Mark.Resources, configs)
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it, and a backup that does not say what waits had nothing waiting then": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 2*time.Minute)
			f.Pending, f.Cells["cell-1"] = nil, countedCell(1, noon.Add(-90*time.Second))
		}, 0, "", "", ""},
		"a move brought it, and a backup that does not say what waits was that late": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 2*time.Minute)
			f.Pending, f.Cells["cell-1"] = nil, countedCell(1, noon.Add(-90*time.Second))
			f.Cells["cell-1"].Status.BackupLag = &metav1.Duration{Duration: time.Minute}
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it, and a backup that does not say what waits had something waiting": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", time.Hour)
			f.Pending, f.Cells["cell-1"] = nil, countedCell(1, noon.Add(-90*time.Second))
			f.Cells["cell-1"].Status.Backup.Pending = 1
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it, and a backup says nothing of what waits": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", time.Hour)
			f.Pending = nil
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it, and there is no backup": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", time.Hour)
			f.Mark = nil
		}, 0, "configmaps/ns/x", "", ""},
		"a move brought it, and a copy is there": {func(t *testing.T, f *failover.Facts) {
			handed(f, "x", time.Second)
			copied(t, f, "x", "1", "10", false)
		}, 1, "", "", ""},
		"a move brought it, and it was deleted since": {func(_ *testing.T, f *failover.Facts) {
			handed(f, "x", 30*time.Second)
			wrote(f, 0, "x", "1", "10", time.Second, true)
		}, 0, "", "", ""},
		"deleted, and a move brought another one since": {func(_ *testing.T, f *failover.Facts) {
			wrote(f, 0, "x", "1", "10", 40*time.Second, true)
			handed(f, "x", 30*time.Second)
		}, 0, "configmaps/ns/x", "", ""},
		"another object of that name": {func(t *testing.T, f *failover.Facts) {
			copied(t, f, "x", "1", "9", false)
			wrote(f, 0, "x", "2", "11", time.Second, false)
		}, 0, "configmaps/ns/x", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := facts()
			test.with(t, f)
			got, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			full := func(key string) string { return strings.ReplaceAll(key, "ns/x", "ns/"+own("x")) }
			dropped := ""
			for _, copies := range got.Resurrected {
				dropped += copies[0].Header.Name
			}
			if got.Protected != test.protected || strings.Join(got.Lost, " ") != full(test.lost) || strings.Join(got.Stale, " ") != full(test.stale) || (dropped != "") != (test.dropped != "") {
				t.Errorf("protected %d, lost %v, stale %v, dropped %q; want %d, %q, %q, %q", got.Protected, got.Lost, got.Stale, dropped,
					test.protected, test.lost, test.stale, test.dropped)
			}
			if want := got.Protected + int64(len(got.Lost)+len(got.Stale)); got.Workloads != want {
				t.Errorf("%d workloads, want %d", got.Workloads, want)
			}
		})
	}
}

// countedCell is one whose backup has counted its objects.
func countedCell(objects int64, at time.Time) *v1alpha1.Cell {
	return &v1alpha1.Cell{Status: v1alpha1.CellStatus{Backup: &v1alpha1.CellBackup{Time: metav1.NewTime(at), Objects: objects, Complete: true}}}
}

// TestReportCountsWhatNobodyTellsOf, only where copies may be gone, or cannot be read.
func TestReportCountsWhatNobodyTellsOf(t *testing.T) {
	minute := noon.Add(-time.Minute)
	tests := map[string]struct {
		with func(t *testing.T, f *failover.Facts)
		want int64
	}{
		"the backup is complete":   {func(*testing.T, *failover.Facts) {}, 0},
		"refused ones are unnamed": {func(_ *testing.T, f *failover.Facts) { f.Unnamed = 6 }, 6},
		"copies are gone":          {func(_ *testing.T, f *failover.Facts) { f.Envelopes = 3 }, 2},
		"copies are gone, and a router knows of one that was deleted, and of one that was made": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes = 3
			wrote(f, 0, "y", "2", "11", time.Second, true)
			wrote(f, 0, "z", "3", "12", time.Second, false)
			f.Witnesses[0].Ledger.Entries[1].Verb = "create"
		}, 1},
		"copies are gone, and the backup has had no time to say what became of them": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.Mark.Time = 3, noon.Add(-time.Second)
		}, 0},
		"copies are gone, and this clock is behind the backup's": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.Mark.Time = 3, noon.Add(time.Hour)
			f.RCPTime, f.MarkStored = noon.Add(time.Hour), noon.Add(59*time.Minute)
		}, 2},
		"copies are gone, this clock is ahead of the backup's, and that has had no time to say what became of them": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.Mark.Time = 3, noon.Add(-time.Hour)
			f.RCPTime, f.MarkStored = noon.Add(-time.Hour), noon.Add(-time.Hour-time.Second)
		}, 0},
		"copies are gone, and nobody knows when the mark was stored": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.RCPTime = 3, noon.Add(-time.Hour)
		}, 2},
		"copies are gone, and objects move": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.Ring.Status.Phase = 3, v1alpha1.RingRebalancing
		}, 0},
		"copies are gone, and the backup does not look after the cell any more": {func(_ *testing.T, f *failover.Facts) {
			f.Envelopes, f.Ring.Status.Unavailable = 3, []string{"cell-1"}
		}, 0},
		"more copies are there than were counted": {func(t *testing.T, f *failover.Facts) {
			f.Envelopes = 1
			copied(t, f, "y", "2", "11", false)
		}, 0},
		"a cell has left":  {func(_ *testing.T, f *failover.Facts) { f.Left = true }, 4},
		"a cell is silent": {func(_ *testing.T, f *failover.Facts) { f.Survivors[1].Err = errors.New("timeout") }, 4},
		"it took over after the count": {func(_ *testing.T, f *failover.Facts) {
			f.Left, f.TakenOver, f.Uncounted = true, 5, 3
		}, 7},
		"nobody has counted": {func(_ *testing.T, f *failover.Facts) {
			f.Left, f.TakenOver, f.Cells = true, 5, nil
		}, 5},
		"one was made after the count": {func(t *testing.T, f *failover.Facts) {
			f.Left = true
			copied(t, f, "y", "2", "11", false)
			wrote(f, 0, "y", "2", "11", time.Second, false)
			f.Witnesses[0].Ledger.Entries[0].Verb = "create"
		}, 4},
		"one that the count has is written": {func(t *testing.T, f *failover.Facts) {
			f.Left = true
			copied(t, f, "y", "2", "11", false)
			wrote(f, 0, "y", "2", "11", time.Second, false)
			f.Witnesses[0].Ledger.Entries[0].Verb = "update"
		}, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Cells["cell-1"] = countedCell(5, minute)
			copied(t, f, "x", "1", "10", false)
			test.with(t, f)
			got, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			if got.Unknown != test.want {
				t.Errorf("unknown %d, want %d", got.Unknown, test.want)
			}
		})
	}
}

func TestReportCountsAgesAndSurvivors(t *testing.T) {
	f := facts()
	for i, ago := range []time.Duration{0, 2 * time.Second, 30 * time.Second, time.Hour} {
		name := fmt.Sprint("x-", i)
		copied(t, f, name, name, "10", false)
		if ago > 0 {
			wrote(f, 0, name, name, "11", ago, false)
		}
	}
	f.Survivors[0].Copies = append(f.Survivors[0].Copies, failover.Copy{Secret: "envelope-x", Corrupt: errors.New("damaged")})
	f.Cells["cell-3"] = &v1alpha1.Cell{Status: v1alpha1.CellStatus{Counts: &v1alpha1.CellCounts{Workloads: 100}}}
	got, err := failover.Report(f)
	if err != nil {
		t.Fatal(err)
	}
	counts := []int64{}
	for _, a := range got.Ages {
		counts = append(counts, a.Copies)
	}
	if diff := cmp.Diff([]int64{2, 1, 1}, counts); diff != "" || got.OldestCopy.Duration != time.Hour || got.StaleKeys[0] != "configmaps/ns/"+own("x-3") {
		t.Errorf("ages %v, oldest %v, worst %v", counts, got.OldestCopy, got.StaleKeys)
	}
	takes := int64(0)
	for _, s := range got.Survivors {
		takes += s.Takes
		if s.Cell == "cell-3" && s.Workloads != 100+s.Takes {
			t.Errorf("cell-3 has %d then, takes %d", s.Workloads, s.Takes)
		}
	}
	if takes != 4 || got.FailoverReport.Corrupt != 1 || got.Corrupt[0] != "secrets/kubecell-system/envelope-x" || failover.Loss(&got.FailoverReport) != 4 {
		t.Errorf("takes %d, corrupt %v, loss %d", takes, got.Corrupt, failover.Loss(&got.FailoverReport))
	}
}

// TestNoCopyIsYoungerThanNow: a router whose clock is ahead has acknowledged a write in what is the future here.
func TestNoCopyIsYoungerThanNow(t *testing.T) {
	f := facts()
	copied(t, f, "x", "x", "10", false)
	wrote(f, 0, "x", "x", "11", -time.Hour, false)
	got, err := failover.Report(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Stale) != 1 || got.OldestCopy == nil || got.OldestCopy.Duration != 0 {
		t.Errorf("%v lack a write, the oldest for %v", got.Stale, got.OldestCopy)
	}
}

// TestReportSaysWhatItCannotKnow: in words that name who and when.
func TestReportSaysWhatItCannotKnow(t *testing.T) {
	f := facts()
	since := noon.Add(-5 * time.Minute)
	f.Witnesses[0].Ledger.Complete, f.Witnesses[0].Ledger.IncompleteSince = false, &since
	f.Witnesses[0].Ledger.Started = noon.Add(-time.Second)
	f.Witnesses[1].Err, f.Witnesses[1].Renewed, f.Witnesses[1].Epoch = errors.New("connection refused"), noon.Add(-3*time.Minute), 41
	f.Survivors[1].Err = errors.New("timeout")
	f.Cells["cell-1"] = countedCell(7, noon)
	f.Ring.Status.Phase, f.Ring.Status.Rebalance = v1alpha1.RingRebalancing, "r-42"
	got, err := failover.Report(f)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(append(got.Warnings, got.Blockers...), "\n")
	for _, want := range []string{
		"router router-a had to forget writes from 11:55:00 on",
		"router router-a started at 11:59:59, and the backup has come as far as 11:59:00",
		"router router-b could not be asked",
		"router router-b acknowledges epoch 41 of 42 and was last seen 3m0s ago",
		"cell cell-3 does not answer",
		"rebalance r-42 is in flight",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing is said of %q:\n%s", want, said)
		}
	}
	if got.Unknown != 7 || failover.Loss(&got.FailoverReport) != 7 {
		t.Errorf("unknown %d, loss %d; want 7, 7", got.Unknown, failover.Loss(&got.FailoverReport))
	}
	if agree, asked := failover.Agreement(&got.FailoverReport); agree != 1 || asked != 1 {
		t.Errorf("%d of %d agree, want 1 of 1", agree, asked)
	}
}

// dead has the first router be silent, and answer nobody.
func dead(f *failover.Facts) {
	w := &f.Witnesses[0]
	w.Renewed, w.Err, w.Ledger = noon.Add(-time.Hour), errors.New("connection refused"), ledger.Report{}
}

// replaced has another router answer at the address of the first one, which is silent.
func replaced(f *failover.Facts) {
	dead(f)
	w := &f.Witnesses[0]
	w.Instead, w.Err = "router-c", errors.New(`router "router-c" answers at its address http://a`)
}

func TestGate(t *testing.T) {
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: 42}
	tests := map[string]struct {
		change func(f *failover.Facts, s *v1alpha1.FailoverSpec)
		why    string // "" for that it opens
		hint   string
	}{
		"open":               {func(*failover.Facts, *v1alpha1.FailoverSpec) {}, "", ""},
		"not confirmed":      {func(_ *failover.Facts, s *v1alpha1.FailoverSpec) { s.ConfirmEpoch = 0 }, "nobody has confirmed it", "--confirm=cell-1@epoch42"},
		"confirmed long ago": {func(_ *failover.Facts, s *v1alpha1.FailoverSpec) { s.ConfirmEpoch = 40 }, "confirmed for epoch 40, and the ring is in epoch 42", "--confirm=cell-1@epoch42"},
		"a loss": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) {
			wrote(f, 0, "x", "1", "10", time.Second, false)
		}, "1 objects would be lost", "--accept-loss=1"},
		"what nobody can name": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) {
			f.Survivors[1].Err = errors.New("timeout")
			f.Cells["cell-1"] = countedCell(7, noon)
		}, "7 objects would be lost or lack a write (of 7 there is a number, and no name)", "--accept-loss=7"},
		"an accepted loss": {func(f *failover.Facts, s *v1alpha1.FailoverSpec) {
			wrote(f, 0, "x", "1", "10", time.Second, false)
			s.AcceptLoss = 1
		}, "", ""},
		"a router sees it":       {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) { f.Witnesses[1].View = router.View{Reachable: true} }, "cell-1 answers router router-b", "--force"},
		"it answers the command": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) { f.Answers = true }, "cell-1 answers this command", "--force"},
		"forced":                 {func(f *failover.Facts, s *v1alpha1.FailoverSpec) { f.Answers, s.Force = true, true }, "", ""},
		"a silent router":        {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) { dead(f) }, "router router-a is silent", "--ignore-router=router-a"},
		"a silent router that has no address of its own any more": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) {
			replaced(f)
		}, `router router-a is silent and would be waited for (router "router-c" answers at its address http://a)`, "kubectl cell router forget router-a"},
		"an ignored router that has no address of its own any more": {func(f *failover.Facts, s *v1alpha1.FailoverSpec) {
			replaced(f)
			s.IgnoreRouters = []string{"router-a"}
		}, "", ""},
		"an ignored router": {func(f *failover.Facts, s *v1alpha1.FailoverSpec) {
			dead(f)
			s.IgnoreRouters = []string{"router-a"}
		}, "", ""},
		"a router that is cut off": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) {
			f.Witnesses[0].Renewed = noon.Add(-time.Hour)
		}, "router router-a is cut off from the router control plane, and answers", "kubectl cell router stop"},
		"an ignored router that is cut off": {func(f *failover.Facts, s *v1alpha1.FailoverSpec) {
			f.Witnesses[0].Renewed, s.IgnoreRouters = noon.Add(-time.Hour), []string{"router-a"}
		}, "may go on writing to cell cell-1", "kubectl cell router stop"},
		"a drill":        {func(f *failover.Facts, s *v1alpha1.FailoverSpec) { f.Answers, s.Drill = true, true }, "", ""},
		"unknown":        {func(_ *failover.Facts, s *v1alpha1.FailoverSpec) { s.Cell = "cell-9" }, "cell cell-9 is not in the ring, which has cell-1, cell-2, cell-3", "get cells"},
		"the last one":   {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) { f.Ring = ring("cell-1") }, "the last one", "restart cell-1"},
		"the last to be": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) { f.Ring.Status.Target = layout("cell-1") }, "the last one", "restart cell-1"},
		"it joins a ring of one cell": {func(f *failover.Facts, _ *v1alpha1.FailoverSpec) {
			f.Ring.Status.Current, f.Ring.Status.Target = layout("cell-2"), layout("cell-1", "cell-2")
		}, "", ""},
		"several at once": {func(f *failover.Facts, s *v1alpha1.FailoverSpec) { f.Answers, s.ConfirmEpoch = true, 0 }, "answers this command; nobody has confirmed it", "--force --confirm=cell-1@epoch42"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, s := facts(), spec
			test.change(f, &s)
			found, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			err = failover.Gate(f, &found.FailoverReport, &s)
			wantGate(t, err, test.why, test.hint)
		})
	}
}

// wantGate wants a refusal that says why, with a hint; none where why is empty.
func wantGate(t *testing.T, err error, why, hint string) {
	t.Helper()
	if why == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	refusal, ok := errors.AsType[*exit.Error](err)
	if !ok || refusal.Code != exit.Refused || !strings.Contains(err.Error(), why) || !strings.Contains(refusal.Hint(exit.Plugin), hint) {
		t.Errorf("got %+v; want a refusal with %q, hint %q", err, why, hint)
	}
}
