package plan

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func simulate(tb testing.TB, options SimulateOptions) Simulation {
	tb.Helper()
	s, err := Simulate(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestSimulateDrain is the example of UX.md with a tenth of the workloads.
func TestSimulateDrain(t *testing.T) {
	t.Parallel()
	s := simulate(t, SimulateOptions{
		Workloads: 1_000_000, Cells: 8, Parallel: 2,
		Changes: Changes{Drain: []string{"cell-3"}},
		Kill:    [][]string{{"cell-3", "cell-1"}, {"cell-2"}, {"cell-1", "cell-2", "cell-3", "cell-4", "cell-5", "cell-6", "cell-7", "cell-8"}},
	})
	if s.Workloads != 1_000_000 || math.Abs(s.IdealShare-1.0/8) > 1e-9 || math.Abs(s.MovedShare-s.IdealShare) > 0.01 {
		t.Errorf("moves %.4f, ideal %.4f of %d", s.MovedShare, s.IdealShare, s.Workloads)
	}
	// One in seven of those that stay had its backup in cell-3.
	if math.Abs(s.BackupsRehomedShare-1.0/7) > 0.01 || math.Abs(s.MaxLoadChange-1.0/7) > 0.03 {
		t.Errorf("backups re-homed %.4f, max load %+.4f", s.BackupsRehomedShare, s.MaxLoadChange)
	}
	pair, one, all := s.Kills[0], s.Kills[1], s.Kills[2]
	// Either of two cells with the other one as backup: 2/8 × 1/7 of all.
	if math.Abs(pair.LosesBothShare-2.0/56) > 0.005 || pair.LosesBothAfter != 0 {
		t.Errorf("%+v", pair)
	}
	if one.LosesBoth != 0 || math.Abs(one.FailsOverShare-1.0/8) > 0.01 {
		t.Errorf("%+v", one)
	}
	if all.LosesBothShare != 1 || all.FailsOver != 0 || all.LosesBothAfterShare != 1 {
		t.Errorf("%+v", all)
	}
}

// TestSimulateIsDiff counts the same workloads by Diff.
func TestSimulateIsDiff(t *testing.T) {
	t.Parallel()
	const n, seed = 50_000, 42
	got := simulate(t, SimulateOptions{Workloads: n, Cells: 4, Seed: seed, Changes: Changes{Add: 1}})
	want := Diff(table(t, equalCells(4), equalCells(5)), func(yield func(Workload) bool) {
		for i := range n {
			namespace, name, _ := strings.Cut(string(appendSynthetic(nil, seed, i)), "/")
			if !yield(Workload{Namespace: namespace, Name: name}) {
				return
			}
		}
	}, DiffOptions{})
	if diff := cmp.Diff(want, got.Preview); diff != "" {
		t.Error(diff)
	}
}

func TestSimulateIsDeterministic(t *testing.T) {
	t.Parallel()
	options := SimulateOptions{Workloads: 100_003, Cells: 5, Seed: 7, Changes: Changes{Add: 1}, Kill: [][]string{{"cell-1", "cell-6"}}}
	want := simulate(t, options)
	for _, parallel := range []int{1, 2, 7} {
		options.Parallel = parallel
		if diff := cmp.Diff(want, simulate(t, options)); diff != "" {
			t.Errorf("%d goroutines: %s", parallel, diff)
		}
	}
	options.Seed = 8
	if cmp.Equal(want, simulate(t, options)) {
		t.Error("another seed gives the same")
	}
}

func TestSimulateWithoutChanges(t *testing.T) {
	t.Parallel()
	s := simulate(t, SimulateOptions{Workloads: 1000, Members: []placement.Member{{Cell: "east", Weight: 3}, {Cell: "west", Weight: 1}}})
	if s.Moves != 0 || s.IdealShare != 0 || s.BackupsRehomed != 0 || len(s.Cells) != 2 || s.Cells[0].ExpectedAfter != 0.75 || len(s.Kills) != 0 {
		t.Errorf("%+v", s)
	}
	one := simulate(t, SimulateOptions{Workloads: 1000, Cells: 1, Kill: [][]string{{"cell-1"}}})
	if one.Kills[0].LosesBoth != 1000 {
		t.Errorf("the only copies in the only cell: %+v", one.Kills[0])
	}
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	var limit *placement.LimitError
	var member *placement.MemberError
	var change *ChangeError
	for name, test := range map[string]struct {
		options SimulateOptions
		is      error
		as      any
	}{
		"no workloads":    {SimulateOptions{Cells: 3}, ErrWorkloads, nil},
		"many workloads":  {SimulateOptions{Cells: 3, Workloads: MaxWorkloads + 1}, ErrWorkloads, nil},
		"no cells":        {SimulateOptions{Workloads: 1}, nil, &limit},
		"many cells":      {SimulateOptions{Workloads: 1, Cells: 257}, nil, &limit},
		"points":          {SimulateOptions{Workloads: 1, Cells: 3, PointsPerWeight: -1}, nil, &limit},
		"weight":          {SimulateOptions{Workloads: 1, Members: []placement.Member{{Cell: "a"}}}, nil, &member},
		"changed weight":  {SimulateOptions{Workloads: 1, Cells: 1, Changes: Changes{Weights: []placement.Member{{Cell: "cell-1"}}}}, nil, &member},
		"drain unknown":   {SimulateOptions{Workloads: 1, Cells: 1, Changes: Changes{Drain: []string{"x"}}}, nil, &change},
		"drain the last":  {SimulateOptions{Workloads: 1, Cells: 1, Changes: Changes{Drain: []string{"cell-1"}}}, placement.ErrEmptyRing, nil},
		"kill an unknown": {SimulateOptions{Workloads: 1, Cells: 1, Kill: [][]string{{"x"}}}, nil, &change},
	} {
		_, err := Simulate(t.Context(), test.options)
		if err == nil || test.is != nil && !errors.Is(err, test.is) || test.as != nil && !errors.As(err, test.as) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Simulate(ended, SimulateOptions{Workloads: MaxWorkloads, Cells: 3, Parallel: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSyntheticKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	sizes := map[string]int{}
	for i := range 200_000 {
		key := string(appendSynthetic(nil, 3, i))
		namespace, name, ok := strings.Cut(key, "/")
		if !ok || len(namespace) != len("ns-0042") || len(name) != len("app-123456") || seen[key] {
			t.Fatalf("key %d is %q, seen before: %v", i, key, seen[key])
		}
		seen[key] = true
		sizes[namespace]++
	}
	if len(sizes) < 1500 {
		t.Errorf("%d namespaces", len(sizes))
	}
	for i, want := range map[int]string{0: "app-000000", 9: "app-000009", 99_999: "app-099999", 100_000: "app-100000", 12_345_678: "app-12345678"} {
		if _, name, _ := strings.Cut(string(appendSynthetic(nil, 3, i)), "/"); name != want {
			t.Errorf("name %d is %s, want %s", i, name, want)
		}
	}
}

func TestSimulationDoesNotAllocatePerWorkload(t *testing.T) {
	counts := newTally(table(t, equalCells(3), equalCells(4)))
	if n := testing.AllocsPerRun(10, func() { counts.addSynthetic(t.Context(), 1, 0, 10_000) }); n > 2 {
		t.Errorf("%v allocations for 10,000 workloads", n)
	}
}
