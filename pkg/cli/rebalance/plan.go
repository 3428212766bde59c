package rebalance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// Plan is the data of `rebalance --dry-run -o json`.
type Plan struct {
	// Differs is how the wanted ring differs from the current one: "+cell-6", "-cell-2", "cell-3 100→120".
	Differs []string `json:"differs"`
	Window  int32    `json:"window"`
	// Others is how many units -n and -l keep from moving.
	Others int `json:"others,omitempty"`
	// Units in the order in which they begin to move.
	Units []PlannedUnit `json:"units"`
}

// PlannedUnit is what moves together.
type PlannedUnit struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
	// Objects are "<resource> <namespace>/<name>".
	Objects []string `json:"objects"`
}

// plan shows the units that would move.
func (o *options) plan(ctx context.Context, fed *command.Federation) error {
	started, err := rebalance.Start(ctx, fed.Config, rebalance.StartOptions{Spec: *o.spec(), Plan: true, DryRun: true})
	if err != nil {
		return fromServer(o.env, fed, err)
	}
	for _, warning := range started.Warnings {
		o.env.Warn("%s", warning)
	}
	p := Plan{Differs: ringchange.Differences(started.Ring), Window: o.window, Others: started.Others, Units: []PlannedUnit{}}
	for _, unit := range started.Units {
		objects := make([]string, len(unit.Objects))
		for i, object := range unit.Objects {
			objects[i] = object.String()
		}
		slices.Sort(objects)
		p.Units = append(p.Units, PlannedUnit{Key: unit.Key, From: unit.From, To: unit.To, Objects: objects})
	}
	err = o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("RebalancePlan", started.Ring.Status.Epoch, p, started.Warnings...),
		Names: func() []string {
			names := make([]string, len(p.Units))
			for i, unit := range p.Units {
				names[i] = unit.Key
			}
			return names
		},
		Text: func(w io.Writer, layout printers.Layout) error { return p.text(w, layout, started) },
	})
	if err == nil && o.printer.Text() && len(p.Units) > 0 {
		fmt.Fprintf(o.env.ErrOut, "next: %s rebalance --window %d%s\n", o.env.Program, o.window, limitFlags(o.limit))
	}
	return err
}

func (p Plan) text(w io.Writer, layout printers.Layout, started *rebalance.Started) error {
	epoch := started.Ring.Status.Epoch
	if started.Nothing {
		_, err := fmt.Fprintf(w, "epoch %d, wanted and current ring are the same; nothing to do\n", epoch)
		return err
	}
	table := layout.Table("UNIT", "FROM", "TO", "OBJECTS")
	for _, unit := range p.Units {
		objects := strconv.Itoa(len(unit.Objects))
		if layout.Wide {
			objects = strings.Join(unit.Objects, ", ")
		}
		table.Rows = append(table.Rows, []string{unit.Key, unit.From, unit.To, objects})
	}
	if len(table.Rows) > 0 {
		if err := table.Write(w); err != nil {
			return err
		}
	}
	of := ""
	if p.Others > 0 {
		of = fmt.Sprintf(" of %s", printers.Count(int64(len(p.Units)+p.Others)))
	}
	_, err := fmt.Fprintf(w, "epoch %d, wanted ring: %s   would move %s%s units, %d at a time (dry run)\n",
		epoch, join(p.Differs), printers.Count(int64(len(p.Units))), of, p.Window)
	return err
}

// changed are the cells that join, leave or have another weight, by name.
func changed(before, after *v1alpha1.RingLayout) []string {
	weights := map[string]int32{}
	for _, m := range before.Members {
		weights[m.Cell] = m.Weight
	}
	var out []string
	for _, m := range after.Members {
		if weights[m.Cell] != m.Weight {
			out = append(out, m.Cell)
		}
		delete(weights, m.Cell)
	}
	for cell := range weights {
		out = append(out, cell)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// back are the commands that make after what before was.
func back(program string, before, after *v1alpha1.RingLayout) []string {
	old, now := map[string]int32{}, map[string]int32{}
	for _, m := range before.Members {
		old[m.Cell] = m.Weight
	}
	for _, m := range after.Members {
		now[m.Cell] = m.Weight
	}
	var out []string
	for _, cell := range changed(before, after) {
		switch {
		case old[cell] == 0:
			out = append(out, fmt.Sprintf("%s drain %s", program, cell))
		case now[cell] == 0:
			out = append(out, fmt.Sprintf("%s undrain %s", program, cell))
			if old[cell] != placement.DefaultWeight {
				out = append(out, fmt.Sprintf("%s weight %s %d", program, cell, old[cell]))
			}
		default:
			out = append(out, fmt.Sprintf("%s weight %s %d", program, cell, old[cell]))
		}
	}
	return out
}

func join(words []string) string { return strings.Join(words, " ") }

// fromServer makes an error for people of one that is none yet.
func fromServer(env *command.Env, fed *command.Federation, err error) error {
	var known *exit.Error
	switch {
	case errors.As(err, &known):
		return err
	case apierrors.IsNotFound(err):
		return federation.NotInitialised()
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return exit.Errorf(exit.Failure, "%w", err).
			WithHint("kubectl auth can-i list rebalances.kubecell.io ; the cluster role kubecell-admin allows it")
	}
	return exit.Errorf(exit.Failure, "ask %s: %w", fed.Config.Host, err).WithHint("%s doctor", env.Program)
}
