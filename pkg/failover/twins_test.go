package failover_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// twins have a cell join, and an object of cell-1 that stays there and has a copy in two cells meanwhile.
func twins(t *testing.T) (f *failover.Facts, name string, homes [2]*failover.Survivor) {
	t.Helper()
	f = facts()
	f.Ring.Status.Phase, f.Ring.Status.Target = v1alpha1.RingRebalancing, layout("cell-1", "cell-2", "cell-3", "cell-4")
	f.Survivors = append(f.Survivors, failover.Survivor{Cell: "cell-4"})
	snap, err := routing.FromRing(f.Ring)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		name = fmt.Sprintf("x-%d", i)
		p, _ := snap.Table.LookupKey("ns/" + name)
		if p.Old() != "cell-1" || p.New() != "cell-1" || p.NewBackup() != "cell-4" {
			continue
		}
		for s := range f.Survivors {
			switch survivor := &f.Survivors[s]; survivor.Cell {
			case p.OldBackup():
				homes[0] = survivor
			case p.NewBackup():
				homes[1] = survivor
			}
		}
		for _, home := range homes {
			home.Copies = []failover.Copy{{Secret: envelope.Name("", "configmaps", "ns", name), Header: envelope.Header{
				Version: "v1", Resource: "configmaps", Kind: "ConfigMap", Namespace: "ns", Name: name, UID: "1", ResourceVersion: "10",
				Unit: "ns/" + name, SourceCell: "cell-1", BackupCell: home.Cell,
			}}}
		}
		return f, name, homes
	}
}

// TestReportOfTwoCopies: the object is lost where neither can be promoted.
func TestReportOfTwoCopies(t *testing.T) {
	refuses := func(f *failover.Facts, name string, home *failover.Survivor) {
		f.Unprotected = append(f.Unprotected, mirror.Unprotected{
			Resource: "configmaps", Namespace: "ns", Name: name, UID: "1", Backup: home.Cell, Reason: mirror.Refused, Envelope: true,
		})
	}
	damaged := func(_ *failover.Facts, _ string, home *failover.Survivor) {
		home.Copies[0].Corrupt = errors.New("damaged")
	}
	older := func(_ *failover.Facts, _ string, home *failover.Survivor) {
		home.Copies[0].Header.ResourceVersion = "9"
	}
	good := func(*failover.Facts, string, *failover.Survivor) {}
	for what, test := range map[string]struct {
		one, other func(*failover.Facts, string, *failover.Survivor)
		lost       bool
	}{
		"both are good":                          {good, good, false},
		"a cell would refuse it":                 {refuses, good, false},
		"a cell would refuse it, which is newer": {refuses, older, false},
		"both cells would refuse it":             {refuses, refuses, true},
		"one is damaged":                         {damaged, good, false},
		"one is damaged, the other one refused":  {damaged, refuses, true},
	} {
		for _, turned := range []bool{false, true} {
			f, name, homes := twins(t)
			if turned {
				homes[0], homes[1] = homes[1], homes[0]
			}
			test.one(f, name, homes[0])
			test.other(f, name, homes[1])
			found, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if test.lost {
				want = failover.Key("", "configmaps", "ns", name)
			}
			if lost := strings.Join(found.Lost, " "); lost != want || found.Protected+found.FailoverReport.Lost != 1 {
				t.Errorf("%s, turned %t: lost %q, protected %d; want %q", what, turned, lost, found.Protected, want)
			}
		}
	}
}
