package plan

import (
	"context"
	"fmt"
	"sync"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Limits of a simulation.
const (
	// DefaultWorkloads is the usual number of synthetic workloads.
	DefaultWorkloads = 10_000_000
	// MaxWorkloads is the largest number of synthetic workloads; about 4 minutes on one core.
	MaxWorkloads = 2_000_000_000
)

// SimulateOptions describe a ring, what is done to it, and how many synthetic workloads live in
// it.
type SimulateOptions struct {
	// Workloads is their number, 1 to MaxWorkloads.
	Workloads int
	// Cells is the number of cells cell-1 … cell-<n> of the default weight. It counts only when
	// Members is empty.
	Cells   int
	Members []placement.Member
	// PointsPerWeight 0 means placement.DefaultPointsPerWeight.
	PointsPerWeight int
	// Changes make the target ring.
	Changes Changes
	// Kill lists sets of cells that die together.
	Kill [][]string
	// Seed chooses the keys; the same seed gives the same result everywhere.
	Seed uint64
	// Parallel is the number of goroutines; less than 1 means 1. It does not change the result.
	Parallel int
}

// Simulation is what Simulate found.
type Simulation struct {
	// Preview counts the moves from the given ring to the changed one; without changes it
	// shows the ring as it is, with no moves.
	Preview
	// Kills are in the order of SimulateOptions.Kill.
	Kills []Kill `json:"kills"`
}

// Kill is what the death of a set of cells at one moment does. Shares are parts of all workloads.
type Kill struct {
	Cells []string `json:"cells"`
	// LosesBoth counts the workloads in the given ring whose owner and backup cell both die;
	// those of a ring with one cell have no backup and lose their only copy.
	LosesBoth      int64   `json:"losesBoth"`
	LosesBothShare float64 `json:"losesBothShare"`
	// FailsOver counts the workloads in the given ring that lose their owner and are saved by
	// their backup.
	FailsOver      int64   `json:"failsOver"`
	FailsOverShare float64 `json:"failsOverShare"`
	// LosesBothAfter counts like LosesBoth in the changed ring.
	LosesBothAfter      int64   `json:"losesBothAfter"`
	LosesBothAfterShare float64 `json:"losesBothAfterShare"`
}

// Simulate places synthetic workloads in a ring before and after changes and counts. It needs no
// cluster, about 20 MiB, and 130 ns of one core per workload.
//
// Errors: a *ChangeError, *placement.MemberError or *placement.LimitError for options that make
// no sense, ErrWorkloads, and the context's when it ends; then the result is void.
func Simulate(ctx context.Context, options SimulateOptions) (Simulation, error) {
	if options.Workloads < 1 || options.Workloads > MaxWorkloads {
		return Simulation{}, fmt.Errorf("%d workloads: %w", options.Workloads, ErrWorkloads)
	}
	table, err := options.table()
	if err != nil {
		return Simulation{}, err
	}
	kills, err := killSets(table, options.Kill)
	if err != nil {
		return Simulation{}, err
	}
	counts := count(ctx, table, options)
	if err := ctx.Err(); err != nil {
		return Simulation{}, fmt.Errorf("simulate: %w", err)
	}
	result := Simulation{Preview: counts.preview(), Kills: []Kill{}}
	for i, dead := range kills {
		result.Kills = append(result.Kills, counts.kill(options.Kill[i], dead))
	}
	return result, nil
}

// table builds the ring before and after the changes.
func (o SimulateOptions) table() (*placement.Table, error) {
	members := o.Members
	if len(members) == 0 {
		if o.Cells < 1 || o.Cells > placement.MaxMembers {
			return nil, &placement.LimitError{Field: "members", Value: o.Cells, Max: placement.MaxMembers}
		}
		for i := range o.Cells {
			members = append(members, placement.Member{Cell: numbered(i + 1), Weight: placement.DefaultWeight})
		}
	}
	points := o.PointsPerWeight
	if points == 0 {
		points = placement.DefaultPointsPerWeight
	}
	current, err := placement.NewRing(members, points)
	if err != nil {
		return nil, err
	}
	if o.Changes.None() {
		return placement.NewTable(current, nil), nil
	}
	changed, err := o.Changes.Apply(members)
	if err != nil {
		return nil, err
	}
	target, err := placement.NewRing(changed, points)
	if err != nil {
		return nil, fmt.Errorf("ring after the changes: %w", err)
	}
	return placement.NewTable(current, target), nil
}

// count shares the workloads out to goroutines, each with its own tally, and waits for all.
func count(ctx context.Context, table *placement.Table, options SimulateOptions) *tally {
	parallel := min(max(options.Parallel, 1), options.Workloads)
	tallies := make([]*tally, parallel)
	var wait sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally(table)
		first := options.Workloads / parallel * i
		last := options.Workloads / parallel * (i + 1)
		if i == parallel-1 {
			last = options.Workloads
		}
		wait.Go(func() { tallies[i].addSynthetic(ctx, options.Seed, first, last) })
	}
	wait.Wait()
	for _, other := range tallies[1:] {
		tallies[0].merge(other)
	}
	return tallies[0]
}
