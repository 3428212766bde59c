package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

func at(second int) time.Time { return time.Unix(int64(second), 0) }

// wrote is a write of a config map.
func wrote(name, uid, verb string, version int64, second int) ledger.Write {
	return ledger.Write{Resource: "configmaps", Namespace: "a", Name: name, UID: uid, Verb: verb, Version: version, At: at(second)}
}

func gone(name, uid string, second int) ledger.Write {
	w := wrote(name, uid, "delete", 0, second)
	w.Gone = true
	return w
}

func mark(version int64) ledger.Mark {
	return ledger.Mark{Resources: map[schema.GroupResource]int64{{Resource: "configmaps"}: version}}
}

// kept is what is remembered of cell-1, shortened.
func kept(l *ledger.Ledger) []string {
	var out []string
	for _, e := range l.Report("cell-1").Entries {
		text := fmt.Sprintf("%s %s/%s %s", e.Verb, e.Name, e.UID, e.Version)
		if e.Gone {
			text += " gone"
		}
		out = append(out, text)
	}
	return out
}

func TestTheNewestWriteOfAnObjectIsKeptUntilTheMarkPassesIt(t *testing.T) {
	tests := map[string]struct {
		do   func(l *ledger.Ledger)
		want []string
	}{
		"writes of one object": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "1", "create", 10, 1))
			l.Record("cell-1", wrote("y", "2", "create", 11, 2))
			l.Record("cell-1", wrote("x", "1", "update", 12, 3))
		}, []string{"create y/2 11", "update x/1 12"}},
		"answers that overtook each other": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "1", "patch", 12, 1))
			l.Record("cell-1", wrote("x", "1", "update", 11, 2))
		}, []string{"patch x/1 12"}},
		"the mark": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "1", "create", 10, 1))
			l.Record("cell-1", wrote("y", "2", "create", 11, 2))
			l.Reach("cell-1", mark(10))
		}, []string{"create y/2 11"}},
		"the mark of another resource": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "1", "create", 10, 1))
			l.Reach("cell-1", ledger.Mark{Resources: map[schema.GroupResource]int64{{Group: "apps", Resource: "deployments"}: 99}})
		}, []string{"create x/1 10"}},
		"an envelope that was quicker than the answer": {func(l *ledger.Ledger) {
			l.Reach("cell-1", mark(10))
			l.Record("cell-1", wrote("x", "1", "create", 10, 1))
		}, nil},
		"a deletion has no version yet": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 1))
			l.Reach("cell-1", mark(99))
		}, []string{"delete x/1  gone"}},
		"a position from before the deletion says nothing of it": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 5))
			l.Observe("cell-1", 20, at(5))
			l.Reach("cell-1", mark(99))
		}, []string{"delete x/1  gone"}},
		"a position from after it does": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 5))
			l.Observe("cell-1", 20, at(6))
		}, []string{"delete x/1 20 gone"}},
		"and the mark passes it": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 5))
			l.Observe("cell-1", 20, at(6))
			l.Reach("cell-1", mark(20))
		}, nil},
		"a mark that is there already": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 5))
			l.Reach("cell-1", mark(20))
			l.Observe("cell-1", 20, at(6))
		}, nil},
		"a late answer to an update does not bring a deleted object back": {func(l *ledger.Ledger) {
			l.Record("cell-1", gone("x", "1", 1))
			l.Record("cell-1", wrote("x", "1", "update", 11, 2))
		}, []string{"delete x/1  gone"}},
		"an object made again under the name is another one": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "2", "create", 12, 1))
			l.Record("cell-1", gone("x", "1", 2)) // its answer was slow
		}, []string{"create x/2 12", "delete x/1  gone"}},
		"another cell": {func(l *ledger.Ledger) {
			l.Record("cell-2", wrote("x", "1", "create", 10, 1))
			l.Record("cell-1", wrote("y", "2", "create", 10, 1))
			l.Reach("cell-2", mark(99))
		}, []string{"create y/2 10"}},
		"a cell that is none any more": {func(l *ledger.Ledger) {
			l.Record("cell-1", wrote("x", "1", "create", 10, 1))
			l.Keep([]string{"cell-2"})
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := ledger.New(10)
			test.do(l)
			if diff := cmp.Diff(test.want, kept(l)); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			if r := l.Report("cell-1"); !r.Complete {
				t.Errorf("it may be short from %v to %v", r.IncompleteSince, r.IncompleteUntil)
			}
		})
	}
}

func TestWhatHadToBeGivenUpIsToldUntilTheMarkPassesIt(t *testing.T) {
	l := ledger.New(2)
	l.Record("cell-1", wrote("a", "1", "create", 10, 1))
	l.Record("cell-1", gone("b", "2", 2))
	l.Record("cell-1", wrote("c", "3", "create", 12, 3))
	l.Record("cell-1", wrote("d", "4", "create", 13, 4))
	short := func(want bool) {
		t.Helper()
		r := l.Report("cell-1")
		if r.Complete != !want || want && (!r.IncompleteSince.Equal(at(1)) || !r.IncompleteUntil.Equal(at(2))) || r.Dropped != 2 {
			t.Errorf("complete %v, from %v to %v, %d dropped; want it short from second 1 to 2: %v", r.Complete, r.IncompleteSince, r.IncompleteUntil, r.Dropped, want)
		}
	}
	short(true)
	if diff := cmp.Diff([]string{"create c/3 12", "create d/4 13"}, kept(l)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	l.Reach("cell-1", mark(11))
	short(true) // where the deletion was made is not known
	l.Observe("cell-1", 12, at(3))
	short(true)
	l.Reach("cell-1", mark(12))
	short(false)
	if counts := l.Counts(); len(counts) != 1 || counts[0] != (ledger.Count{Cell: "cell-1", Writes: 1, Dropped: 2}) {
		t.Errorf("counts %v", counts)
	}
}

// TestNoWriteGetsLost is the invariant: each acknowledged write is in the report, or covered by the mark, or in the
// interval for which the report says that it may be short.
func TestNoWriteGetsLost(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		l := ledger.New(5 + random.IntN(20))
		type fact struct {
			version int64
			gone    bool
			second  int
		}
		newest := map[string]fact{} // by name, which is the UID
		version, reached := int64(0), int64(0)
		for second := range 300 {
			name := fmt.Sprint(random.IntN(30), "-", second/100)
			switch before, there := newest[name]; {
			case random.IntN(10) == 0:
				l.Observe("cell-1", version, at(second))
			case random.IntN(10) == 0:
				reached += random.Int64N(version - reached + 1)
				l.Reach("cell-1", mark(reached))
			case there && before.gone:
			case random.IntN(5) == 0:
				version++
				newest[name] = fact{version, true, second}
				l.Record("cell-1", gone(name, name, second))
			default:
				version++
				newest[name] = fact{version, false, second}
				l.Record("cell-1", wrote(name, name, "update", version, second))
			}
			report := l.Report("cell-1")
			in := map[string]ledger.Entry{}
			for _, e := range report.Entries {
				in[e.Name] = e
			}
			for name, f := range newest {
				e, there := in[name]
				dropped := !report.Complete && !at(f.second).Before(*report.IncompleteSince) && !at(f.second).After(*report.IncompleteUntil)
				if there && e.Gone == f.gone && (f.gone || e.Version == fmt.Sprint(f.version)) || f.version <= reached || dropped {
					continue
				}
				t.Fatalf("seed %d, second %d: %s at %v is not in the report (%+v), the mark is at %d, short: %v", seed, second, name, f, e, reached, !report.Complete)
			}
		}
	}
}

func TestParseMark(t *testing.T) {
	got, err := ledger.ParseMark([]byte(`{"cell":"cell-3","controlPlane":"u","time":"2026-01-02T03:04:05.6Z","resources":{"configmaps":"12345","deployments.apps":"12399"}}`))
	want := ledger.Mark{
		Cell: "cell-3", ControlPlane: "u", Time: time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC),
		Resources: map[schema.GroupResource]int64{{Resource: "configmaps"}: 12345, {Group: "apps", Resource: "deployments"}: 12399},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{``, `[]`, `{"resources":{"configmaps":"-1"}}`, `{"resources":{"configmaps":7}}`} {
		if _, err := ledger.ParseMark([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a mark", bad)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	l := ledger.New(ledger.DefaultLimit)
	names := make([]string, 20_000)
	for i := range names {
		names[i] = fmt.Sprintf("0b6c7f7e-0d3b-4d7c-9d6e-%012d", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		l.Record("cell-1", wrote("x", names[i%len(names)], "update", int64(i+1), i))
	}
}
