// Package simulate is the command `simulate`: what a change of the ring, or the death of cells,
// would do to many synthetic workloads. It needs no cluster.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// defaultCells is the number of cells where neither --cells nor a saved ring says another.
const defaultCells = 8

type options struct {
	env       *command.Env
	workloads string
	cells     int
	add       int
	drain     []string
	weights   []string
	kills     []string
	seed      uint64
	output    printers.Output
	printer   *printers.Printer

	cellsChosen func() bool
	plan        plan.SimulateOptions
	epoch       int64
}

// NewCommand returns `simulate`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Rehearse a change of the ring with synthetic workloads, without a cluster",
		Long: "Rehearse a change of the ring, or the death of cells, with synthetic workloads. No cluster is\n" +
			"needed and nothing is changed.\n\n" +
			"With --cells N the ring has the cells cell-1 to cell-N of equal weight. Without it, the ring that was\n" +
			"last read from the server of your context is used where there is one, else eight equal cells.",
		Example: "  # What does a ninth cell move?\n  " + env.Program + " simulate --workloads 10M --cells 8 --add 1\n\n" +
			"  # Drain one cell and give another more\n  " + env.Program + " simulate --cells 8 --drain cell-3 --weight cell-5=120\n\n" +
			"  # Which share loses both copies when two cells die at once?\n  " + env.Program + " simulate --cells 8 --kill cell-3,cell-1",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.workloads, "workloads", "10M", "Number of workloads; k, M and G are understood")
	flags.IntVar(&o.cells, "cells", defaultCells, "Number of cells of equal weight to begin with")
	flags.IntVar(&o.add, "add", 0, "Number of cells to add, of the default weight")
	flags.StringSliceVar(&o.drain, "drain", nil, "Cells to take out of the ring")
	flags.StringSliceVar(&o.weights, "weight", nil, "Weights to change, as CELL=WEIGHT")
	flags.StringArrayVar(&o.kills, "kill", nil, "Cells that die together, divided by commas; may be repeated for more sets")
	flags.Uint64Var(&o.seed, "seed", 1, "Seed of the synthetic names; the same seed gives the same result everywhere")
	o.output.AddFlags(flags)
	o.cellsChosen = func() bool { return flags.Changed("cells") }
	for _, flag := range []string{"drain", "kill"} {
		// The flag exists, so the only error there can be cannot happen.
		_ = cmd.RegisterFlagCompletionFunc(flag, completion.Cells(env))
	}
	return cmd
}

// Complete reads the flags and chooses the ring.
func (o *options) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	o.plan = plan.SimulateOptions{Seed: o.seed, Parallel: runtime.GOMAXPROCS(0), Cells: o.cells}
	if o.plan.Workloads, err = parseCount(o.workloads); err != nil {
		return err
	}
	if o.add < 0 {
		return exit.Flagf("add", o.add, "not be negative").WithHint("--drain CELL takes a cell out")
	}
	weights, err := parseWeights(o.weights)
	if err != nil {
		return err
	}
	o.plan.Changes = plan.Changes{Drain: o.drain, Weights: weights, Add: o.add}
	if o.plan.Kill, err = parseKills(o.kills); err != nil {
		return err
	}
	if !o.cellsChosen() {
		o.useSavedRing()
	}
	return nil
}

// useSavedRing begins with the federation's own ring where a copy of it is at hand. Which ring was
// used is said on standard error.
func (o *options) useSavedRing() {
	saved, err := ring.ReadSaved(o.env)
	if err != nil || saved.Ring.Status.Current == nil || len(saved.Ring.Status.Current.Members) == 0 {
		fmt.Fprintf(o.env.ErrOut, "ring: %d cells of equal weight (--cells)\n", o.cells)
		return
	}
	o.plan.Members, o.plan.PointsPerWeight = members(saved.Ring.Status.Current)
	o.epoch = saved.Ring.Status.Epoch
	fmt.Fprintln(o.env.ErrOut, ring.Describe(saved, o.env.Clock.Now()))
}

func members(layout *v1alpha1.RingLayout) ([]placement.Member, int) {
	out := make([]placement.Member, len(layout.Members))
	for i, m := range layout.Members {
		out[i] = placement.Member{Cell: m.Cell, Weight: int(m.Weight)}
	}
	return out, int(layout.PointsPerWeight)
}

// Run simulates and prints.
func (o *options) Run(ctx context.Context) error {
	start := o.env.Clock.Now()
	result, err := plan.Simulate(ctx, o.plan)
	if err != nil {
		return o.explain(err)
	}
	took := o.env.Clock.Since(start).Round(100 * time.Millisecond)
	r := report{Simulation: result, changes: o.plan.Changes, took: took}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Simulation", o.epoch, r.data()),
		Names:    r.names,
		Text:     r.print,
	})
}

// explain tells what the user can correct from what they cannot.
func (o *options) explain(err error) error {
	var change *plan.ChangeError
	var member *placement.MemberError
	var limit *placement.LimitError
	switch {
	case errors.As(err, &change) && len(change.Known) > 0 && change.Cell != "":
		return exit.Usagef("%w", err).WithHint("--%s %s", change.Change, example(change))
	case errors.As(err, &change), errors.As(err, &member), errors.As(err, &limit), errors.Is(err, placement.ErrEmptyRing):
		return exit.Usagef("%w", err).WithHint("%s simulate --help", o.env.Program)
	}
	return err
}

// example is a correct argument for the flag that was wrong.
func example(e *plan.ChangeError) string {
	last := e.Known[len(e.Known)-1]
	if e.Change == "weight" {
		return last + "=120"
	}
	return last
}
