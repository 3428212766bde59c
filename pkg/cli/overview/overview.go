// Package overview looks at all cells of a federation at once, for `get cells` and `status`: what the
// ring says of them, whether they answer, and how many workloads they have.
//
// The cells are asked concurrently and each has its own time limit: one that is down costs the others
// nothing. It is shown as Unreachable, its numbers as unknown.
package overview

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// answerWithin is how long a cell may take before it counts as unreachable here. People wait.
const answerWithin = 3 * time.Second

// State is what a cell is, in one word.
type State string

// The states, the worst first: a cell is shown with the first that fits.
const (
	// Fenced: the cell was failed over and must not be used.
	Fenced State = "Fenced"
	// Unreachable: the cell does not answer, or not to these credentials.
	Unreachable State = "Unreachable"
	// Maintenance: the administrator works on the cell.
	Maintenance State = "Maintenance"
	// Joining: wanted, but data does not live there yet.
	Joining State = "Joining"
	// Draining: not wanted any more, but data still lives there.
	Draining State = "Draining"
	// Ready: takes workloads.
	Ready State = "Ready"
	// Idle: in no ring.
	Idle State = "Idle"
)

// Cell is one row. Pointers are nil for what is not known.
type Cell struct {
	Name  string            `json:"name"`
	State State             `json:"state"`
	Label map[string]string `json:"labels,omitempty"`
	// Weight in the current ring, WantedWeight in the wanted one; 0 where it is not in that.
	Weight       int32 `json:"weight"`
	WantedWeight int32 `json:"wantedWeight"`
	// Workloads in the cell; Share of all workloads, 0 to 1; Expected by weight, in the current
	// ring or, for a joining cell, in the wanted one.
	Workloads *int64   `json:"workloads"`
	Share     *float64 `json:"share"`
	Expected  float64  `json:"expected"`
	// BackupLagSeconds is the age of the oldest write that is not in the backup cell yet.
	BackupLagSeconds *float64 `json:"backupLagSeconds"`
	// LatencySeconds of a small request; Problem says why there is none.
	LatencySeconds *float64 `json:"latencySeconds"`
	Problem        string   `json:"problem,omitempty"`
	// Unasked says that there was no way to ask the cell, as for want of its credentials.
	Unasked bool      `json:"-"`
	Version string    `json:"version,omitempty"`
	Server  string    `json:"server,omitempty"`
	Created time.Time `json:"created"`

	// Object is the Cell; nil for a member of the ring without one.
	Object *v1alpha1.Cell `json:"-"`
}

// Overview is all cells, by name.
type Overview struct {
	Ring  *v1alpha1.Ring
	Cells []Cell
	// Workloads is the number of those that could be counted.
	Workloads int64
	// Warnings say what is not known and why.
	Warnings []string
}

// Look asks everything. Its error means that the router control plane could not be asked; cells that
// do not answer are part of the result.
func Look(ctx context.Context, fed *command.Federation, ring *v1alpha1.Ring) (*Overview, error) {
	census, err := federation.NewCensus(ctx, fed.Config, ring)
	if err != nil {
		return nil, err
	}
	o := &Overview{Ring: ring}
	for name, access := range census.Cells {
		o.Cells = append(o.Cells, newCell(name, &access.Cell, access))
	}
	for _, layout := range []*v1alpha1.RingLayout{ring.Status.Current, ring.Status.Target, &ring.Spec.RingLayout} {
		o.addMissing(layout)
	}
	slices.SortFunc(o.Cells, func(a, b Cell) int { return strings.Compare(a.Name, b.Name) })
	o.probe(ctx, census)
	o.place(census)
	return o, o.count(ctx, census)
}

func newCell(name string, object *v1alpha1.Cell, access federation.Access) Cell {
	cell := Cell{Name: name, Object: object, Label: object.Labels, Created: object.CreationTimestamp.Time, Version: object.Status.Version}
	if lag := object.Status.BackupLag; lag != nil {
		seconds := lag.Seconds()
		cell.BackupLagSeconds = &seconds
	}
	if access.Err != nil {
		cell.Problem, cell.Unasked = access.Err.Error(), true
	} else {
		cell.Server = access.Config.Host
	}
	return cell
}

// addMissing adds members of a ring that was edited by hand and names a cell that there is not.
func (o *Overview) addMissing(layout *v1alpha1.RingLayout) {
	if layout == nil {
		return
	}
	for _, m := range layout.Members {
		if !slices.ContainsFunc(o.Cells, func(c Cell) bool { return c.Name == m.Cell }) {
			o.Cells = append(o.Cells, Cell{Name: m.Cell, Problem: "is in the ring, but there is no such Cell"})
		}
	}
}

// probe asks all cells at once. A cell that does not answer is left out of the census.
func (o *Overview) probe(ctx context.Context, census *federation.Counter) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	var answers sync.WaitGroup
	for i := range o.Cells {
		cell := &o.Cells[i]
		access := census.Cells[cell.Name]
		if cell.Problem != "" {
			continue
		}
		answers.Go(func() {
			health, err := federation.Probe(ctx, access.Config)
			if err != nil {
				cell.Problem = problem(err)
				return
			}
			seconds := health.Latency.Seconds()
			cell.LatencySeconds, cell.Version = &seconds, health.Version
		})
	}
	answers.Wait()
	for _, cell := range o.Cells {
		access, known := census.Cells[cell.Name]
		if known && cell.Problem != "" && access.Err == nil {
			access.Err = errors.New(cell.Problem)
			census.Cells[cell.Name] = access
		}
	}
}

// problem is short enough for a table.
func problem(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", answerWithin)
	}
	text := err.Error()
	// client-go puts the request in front, which the column's header says already.
	if i := strings.LastIndex(text, `": `); i >= 0 {
		text = text[i+3:]
	}
	return text
}

// place says what the rings make of each cell.
func (o *Overview) place(census *federation.Counter) {
	ring := o.Ring
	wantedTotal := int32(0)
	for _, m := range ring.Spec.Members {
		wantedTotal += m.Weight
	}
	for i := range o.Cells {
		cell := &o.Cells[i]
		cell.Weight, cell.WantedWeight = federation.Weight(ring.Status.Current, cell.Name), federation.Weight(&ring.Spec.RingLayout, cell.Name)
		cell.Expected = census.Snapshot.Table.Current().WeightShare(cell.Name)
		if cell.Weight == 0 && wantedTotal > 0 {
			cell.Expected = float64(cell.WantedWeight) / float64(wantedTotal)
		}
		cell.State = state(ring, cell)
	}
}

func state(ring *v1alpha1.Ring, cell *Cell) State {
	switch {
	case slices.Contains(ring.Status.Unavailable, cell.Name):
		return Fenced
	case cell.Problem != "":
		return Unreachable
	case cell.Object.Spec.Maintenance:
		return Maintenance
	case cell.Weight == 0 && (cell.WantedWeight > 0 || federation.Weight(ring.Status.Target, cell.Name) > 0):
		return Joining
	case cell.Weight > 0 && cell.WantedWeight == 0:
		return Draining
	case cell.Weight > 0:
		return Ready
	}
	return Idle
}

// count goes through all workloads. A cell that fails in the middle has no number.
func (o *Overview) count(ctx context.Context, census *federation.Counter) error {
	counts, failed := map[string]int64{}, map[string]bool{}
	for unit, err := range census.Units(ctx, federation.CensusOptions{}) {
		var missing *federation.CellError
		switch {
		case errors.As(err, &missing):
			failed[missing.Cell] = true
			o.Warnings = append(o.Warnings, fmt.Sprintf("cell %s: %s", missing.Cell, problem(missing.Err)))
		case err != nil:
			return err
		default:
			counts[unit.Cell]++
			o.Workloads++
		}
	}
	slices.Sort(o.Warnings)
	for i := range o.Cells {
		cell := &o.Cells[i]
		if failed[cell.Name] || cell.Problem != "" {
			continue
		}
		number := counts[cell.Name]
		cell.Workloads = &number
		// A share of what could be counted would be wrong.
		if len(failed) == 0 && o.Workloads > 0 {
			share := float64(number) / float64(o.Workloads)
			cell.Share = &share
		}
	}
	return nil
}
