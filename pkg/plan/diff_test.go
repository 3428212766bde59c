package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func equalCells(n int) []placement.Member {
	members := make([]placement.Member, n)
	for i := range members {
		members[i] = placement.Member{Cell: fmt.Sprintf("cell-%d", i+1), Weight: placement.DefaultWeight}
	}
	return members
}

func table(tb testing.TB, current, target []placement.Member) *placement.Table {
	tb.Helper()
	var rings [2]*placement.Ring
	for i, members := range [][]placement.Member{current, target} {
		if members == nil {
			continue
		}
		ring, err := placement.NewRing(members, placement.DefaultPointsPerWeight)
		if err != nil {
			tb.Fatal(err)
		}
		rings[i] = ring
	}
	return placement.NewTable(rings[0], rings[1])
}

func workloads(n int) []Workload {
	out := make([]Workload, n)
	for i := range out {
		out[i] = Workload{Namespace: fmt.Sprintf("ns-%d", i%17), Name: fmt.Sprintf("app-%d", i)}
	}
	return out
}

// TestDiffCountsWhatMoves recounts everything from the single placements.
func TestDiffCountsWhatMoves(t *testing.T) {
	t.Parallel()
	for name, rings := range map[string][2][]placement.Member{
		"join":    {equalCells(5), equalCells(6)},
		"leave":   {equalCells(4), equalCells(4)[1:]},
		"replace": {equalCells(4)[:3], equalCells(4)[1:]},
		"weights": {equalCells(3), {{Cell: "cell-1", Weight: 200}, {Cell: "cell-2", Weight: 100}, {Cell: "cell-3", Weight: 50}}},
		"nothing": {equalCells(3), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, all := table(t, rings[0], rings[1]), workloads(20_000)
			var each []Workload
			got := Diff(table, slices.Values(all), DiffOptions{
				PerNamespace: true,
				Each:         func(w Workload, p placement.Placement) { each = append(each, w) },
			})
			var want []Workload
			pairs, before, after, cases := map[[2]string]int64{}, map[string]int64{}, map[string]int64{}, map[placement.Case]int64{}
			var moves, rehomed int64
			for _, w := range all {
				p, _ := table.Lookup(w.Key, w.Namespace, w.Name)
				before[p.Old()]++
				after[p.New()]++
				if p.Moves() {
					moves++
					pairs[[2]string{p.Old(), p.New()}]++
					cases[p.Case()]++
				} else if p.Rehomed() {
					rehomed++
				}
				if p.Moves() || p.Rehomed() {
					want = append(want, w)
				}
			}
			if diff := cmp.Diff(want, each); diff != "" {
				t.Error(diff)
			}
			if got.Workloads != 20_000 || got.Moves != moves || got.Stays != 20_000-moves || got.BackupsRehomed != rehomed {
				t.Errorf("%+v, want %d moves, %d rehomed", got, moves, rehomed)
			}
			checkParts(t, got, pairs, before, after, cases)
		})
	}
}

func checkParts(t *testing.T, got Preview, pairs map[[2]string]int64, before, after map[string]int64, cases map[placement.Case]int64) {
	t.Helper()
	gotPairs, gotCases := map[[2]string]int64{}, map[placement.Case]int64{}
	for _, p := range got.Pairs {
		gotPairs[[2]string{p.From, p.To}] = p.Moves
	}
	for _, c := range got.Cases {
		gotCases[c.Case] = c.Moves
	}
	if diff := cmp.Diff(pairs, gotPairs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(cases, gotCases); diff != "" {
		t.Error(diff)
	}
	for _, c := range got.Cells {
		if c.Before != before[c.Cell] || c.After != after[c.Cell] || c.Before-c.Out+c.In != c.After || c.Stays+c.Out != c.Before {
			t.Errorf("%+v, want %d → %d", c, before[c.Cell], after[c.Cell])
		}
	}
	var inNamespaces, moved, rehomed int64
	for _, n := range got.Namespaces {
		inNamespaces, moved, rehomed = inNamespaces+n.Workloads, moved+n.Moves, rehomed+n.BackupsRehomed
	}
	if inNamespaces != got.Workloads || moved != got.Moves || rehomed != got.BackupsRehomed {
		t.Errorf("the namespaces hold %d, %d move, %d rehomed; all together %+v", inNamespaces, moved, rehomed, got)
	}
	if len(got.Namespaces) != 17 || !slices.IsSortedFunc(got.Namespaces, func(a, b Namespace) int { return strings.Compare(a.Namespace, b.Namespace) }) {
		t.Errorf("%d namespaces, sorted by name?", len(got.Namespaces))
	}
}

// TestDiffShares checks the numbers that people decide by, for the change of DESIGN.md's example:
// one cell joins five.
func TestDiffShares(t *testing.T) {
	t.Parallel()
	p := Diff(table(t, equalCells(5), equalCells(6)), slices.Values(workloads(105_312)), DiffOptions{})
	if math.Abs(p.IdealShare-1.0/6) > 1e-9 || math.Abs(p.MovedShare-p.IdealShare) > 0.01 {
		t.Errorf("moves %.3f, ideal %.3f", p.MovedShare, p.IdealShare)
	}
	if math.Abs(p.BackupsRehomedShare-0.18) > 0.04 {
		t.Errorf("backups re-homed %.3f", p.BackupsRehomedShare)
	}
	if p.SkewBefore <= 0 || p.SkewBefore > 0.03 || p.SkewAfter <= 0 || p.SkewAfter > 0.03 {
		t.Errorf("skew %.3f → %.3f", p.SkewBefore, p.SkewAfter)
	}
	if p.Namespaces != nil {
		t.Error("namespaces were not asked for")
	}
	joined := p.Cells[5]
	if joined.WeightBefore != 0 || joined.WeightAfter != 100 || joined.ExpectedBefore != 0 || joined.Before != 0 || joined.In != p.Moves {
		t.Errorf("%+v", joined)
	}
	if p.MaxLoadCell == "cell-6" || p.MaxLoadChange > -0.1 {
		t.Errorf("%s grows by %.3f, but all shrink", p.MaxLoadCell, p.MaxLoadChange)
	}
}

func TestDiffOfEmptyRing(t *testing.T) {
	t.Parallel()
	p := Diff(placement.NewTable(nil, nil), slices.Values(workloads(10)), DiffOptions{PerNamespace: true})
	if p.Workloads != 10 || p.Moves != 0 || p.Stays != 10 || len(p.Cells) != 0 || len(p.Namespaces) != 10 {
		t.Errorf("%+v", p)
	}
	p = Diff(table(t, equalCells(2), equalCells(3)), slices.Values(workloads(0)), DiffOptions{})
	if p.MovedShare != 0 || p.SkewAfter != 0 || p.MaxLoadCell != "" || len(p.Cells) != 3 {
		t.Errorf("%+v", p)
	}
}

// TestDiffJSON: the names are an API; the shares are numbers that JSON can hold.
func TestDiffJSON(t *testing.T) {
	t.Parallel()
	p := Diff(table(t, equalCells(1), equalCells(2)), slices.Values(workloads(1)), DiffOptions{PerNamespace: true})
	data, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{
		"workloads", "moves", "stays", "movedShare", "keyShare", "idealShare", "backupsRehomed", "backupsRehomedShare",
		"skewBefore", "skewAfter", "maxLoadChange", "cases", "pairs", "cells", "namespaces", "weightBefore",
		"before", "after", "in", "out", "shareBefore", "shareAfter", "expectedBefore", "expectedAfter",
	} {
		if !strings.Contains(string(data), `"`+field+`":`) {
			t.Errorf("no field %s in\n%s", field, data)
		}
	}
	if strings.Contains(string(data), "null") {
		t.Errorf("null in\n%s", data)
	}
}
