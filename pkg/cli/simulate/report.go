package simulate

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// report is a simulation for people.
type report struct {
	plan.Simulation
	changes plan.Changes
	took    time.Duration
}

// Data is the data of `simulate -o json`.
type Data struct {
	plan.Simulation
	// Change is the change in words, empty where there is none.
	Change string `json:"change,omitempty"`
	// Seconds is how long the simulation took.
	Seconds float64 `json:"seconds"`
}

func (r report) data() Data {
	return Data{Simulation: r.Simulation, Change: r.change(), Seconds: r.took.Seconds()}
}

// names are the cells of both rings.
func (r report) names() []string {
	out := make([]string, len(r.Cells))
	for i, c := range r.Cells {
		out[i] = c.Cell
	}
	return out
}

// change names what was done to the ring.
func (r report) change() string {
	var parts []string
	for _, cell := range r.changes.Drain {
		parts = append(parts, "drain "+cell)
	}
	for _, m := range r.changes.Weights {
		parts = append(parts, "weight "+m.Cell+"="+strconv.Itoa(m.Weight))
	}
	if r.changes.Add > 0 {
		parts = append(parts, fmt.Sprintf("add %d", r.changes.Add))
	}
	return strings.Join(parts, ", ")
}

func (r report) print(w io.Writer, layout printers.Layout) error {
	before := 0
	for _, c := range r.Cells {
		if c.WeightBefore > 0 {
			before++
		}
	}
	var b strings.Builder
	cells := "cells"
	if before == 1 {
		cells = "cell"
	}
	fmt.Fprintf(&b, "%s workloads · %d %s · %.1fs\n", printers.Count(r.Workloads), before, cells, r.took.Seconds())
	if change := r.change(); change != "" {
		fmt.Fprintf(&b, "%s: moves %s (ideal %s), backups re-homed %s, max load %s, skew %s → %s\n", change,
			printers.Percent(r.MovedShare), printers.Percent(r.IdealShare), printers.Percent(r.BackupsRehomedShare),
			signed(r.MaxLoadChange), printers.Percent(r.SkewBefore), printers.Percent(r.SkewAfter))
		for _, c := range r.Cases {
			fmt.Fprintf(&b, "  %s: %s\n", c.Case, printers.Count(c.Moves))
		}
	} else {
		fmt.Fprintf(&b, "skew %s\n", printers.Percent(r.SkewBefore))
	}
	for _, k := range r.Kills {
		fmt.Fprintf(&b, "kill %s: %s lose both copies", strings.Join(k.Cells, "+"), printers.Percent(k.LosesBothShare))
		if r.change() != "" {
			fmt.Fprintf(&b, " (%s after the change)", printers.Percent(k.LosesBothAfterShare))
		}
		fmt.Fprintf(&b, ", %s fail over\n", printers.Percent(k.FailsOverShare))
	}
	if _, err := io.WriteString(w, b.String()); err != nil || !layout.Wide {
		return err
	}
	return r.table(layout).Write(w)
}

// table has one row for each cell, for -o wide.
func (r report) table(layout printers.Layout) printers.Table {
	table := layout.Table("CELL", "WEIGHT", "BEFORE", "AFTER", "OUT", "IN", "SHARE", "EXPECTED")
	for _, c := range r.Cells {
		weight := strconv.Itoa(c.WeightBefore)
		if c.WeightAfter != c.WeightBefore {
			weight += " → " + strconv.Itoa(c.WeightAfter)
		}
		table.Rows = append(table.Rows, []string{
			c.Cell, weight, printers.Count(c.Before), printers.Count(c.After), printers.Count(c.Out),
			printers.Count(c.In), printers.Percent(c.ShareAfter), printers.Percent(c.ExpectedAfter),
		})
	}
	return table
}

func signed(share float64) string {
	if share < 0 {
		return printers.Percent(share)
	}
	return "+" + printers.Percent(share)
}
