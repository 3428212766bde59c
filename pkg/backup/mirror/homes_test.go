package mirror

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestEachCellThatRefusesIsNamed: of two backup cells one may take the object.
func TestEachCellThatRefusesIsNamed(t *testing.T) {
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{
		Epoch: 2, Phase: v1alpha1.RingRebalancing, Current: layoutOf([]string{"a", "b"}), Target: layoutOf([]string{"a", "b", "c"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m.state = &replication.State{Snapshot: snap}
	s := &stream{cell: &cell{m: m, name: "a"}, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	id := identity{resource: "configmaps", namespace: "ns"}
	for n := 0; ; n++ {
		id.name = fmt.Sprintf("x-%d", n)
		if p, _ := snap.Table.LookupKey("ns/" + id.name); p.Old() == "a" && p.New() == "a" && p.OldBackup() == "b" && p.NewBackup() == "c" {
			break
		}
	}
	it := m.item(id)
	it.records = records{{stream: s, uid: "1", version: 2}}
	m.suspects[it] = struct{}{}
	it.refusal = &refusal{uid: "1", version: 2, cell: "c", reason: Refused, message: "full", stored: true}
	for _, test := range []struct {
		inB  proof
		want []string
	}{
		{proof{uid: "1", refused: true}, []string{"c full", "b "}},
		{proof{uid: "1"}, []string{"c full"}},
		{proof{uid: "0", refused: true}, []string{"c full"}}, // an object of that name before
	} {
		it.proven = map[string]proof{"b": test.inB, "c": {uid: "1", refused: true}}
		named, _ := m.nameUnprotected()
		var got []string
		for _, u := range named["a"] {
			got = append(got, u.Backup+" "+u.Message)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.inB, diff)
		}
	}
}
