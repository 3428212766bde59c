// Package top is the command `top`: the cells, their load and lag, routers and what moves, refreshed on the whole
// screen. It changes nothing.
package top

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/cli/status"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	screen "github.com/kubecell/kubectl-cell/pkg/tui/top"
)

// fastest is how often a screen may be made anew: each time all workloads are counted.
const fastest = 500 * time.Millisecond

type options struct {
	env   *command.Env
	every time.Duration
	tui   command.TUI
}

// NewCommand returns `top`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch cells, movers and backup lag on the whole screen",
		Long: "Watch the cells with their load, backup lag and answering time, the routers, the rebalance or failover that\n" +
			"runs, and what needs attention, on the whole screen. Nothing is changed. q quits.\n\n" +
			"Without a terminal, or with --tui=never, the same is printed once.",
		Example: "  " + env.Program + " top\n\n  # Once, as text\n  " + env.Program + " top --tui=never",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	cmd.Flags().DurationVar(&o.every, "every", 2*time.Second, "How often to look")
	o.tui.AddFlag(cmd.Flags(), "Show it on a screen where there is a terminal, else once as text")
	return cmd
}

// Complete checks the flags.
func (o *options) Complete([]string) error {
	if o.every < fastest {
		return exit.Flagf("every", o.every, "be %s or more", fastest).WithHint("--every 2s")
	}
	return o.tui.Check()
}

// Run looks until the user leaves.
func (o *options) Run(ctx context.Context) error {
	first, err := o.look(ctx) // an error here is one of the command, not a picture
	if err != nil {
		return err
	}
	if !o.tui.Live(o.env, o.env.Out) {
		return text(o.env.Out, first)
	}
	var environ []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL"} {
		if value := o.env.Getenv(name); value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return screen.Run(o.env.In, o.env.Out, environ, o.every, func(show func(screen.Frame), left <-chan struct{}) {
		o.refresh(ctx, first, show, left)
	})
}

// refresh shows a frame after the other, until ctx ends or the user has left.
func (o *options) refresh(ctx context.Context, first screen.Frame, show func(screen.Frame), left <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	show(first)
	ticks := time.NewTicker(o.every)
	defer ticks.Stop()
	go func() { // ends with the screen
		<-left
		cancel()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		frame, err := o.look(ctx)
		if err != nil {
			frame = screen.Frame{Err: err.Error()}
		}
		show(frame)
	}
}

// look is the federation at this moment.
func (o *options) look(ctx context.Context) (screen.Frame, error) {
	fed, err := o.env.Connect()
	if err != nil {
		return screen.Frame{}, err
	}
	r, err := ring.Read(ctx, o.env, fed)
	if err != nil {
		return screen.Frame{}, err
	}
	data, seen, err := status.Look(ctx, o.env, fed, r)
	if err != nil {
		return screen.Frame{}, err
	}
	now := o.env.Clock.Now()
	table := overview.Table(seen.Cells, now, printers.Layout{})
	alive := 0
	for _, router := range data.Routers {
		if router.Alive {
			alive++
		}
	}
	frame := screen.Frame{
		At: now,
		Title: fmt.Sprintf("epoch %d  %s  %s workloads  %d/%d routers alive", data.Epoch, data.Phase,
			printers.Count(data.Workloads), alive, len(data.Routers)),
		Header: table.Header, Rows: table.Rows,
		Spare: []string{"AGE", "EXPECTED", "WEIGHT", "SHARE", "APISERVER"},
	}
	frame.Notes = append(frame.Notes, data.Runs()...)
	for _, finding := range data.Findings {
		frame.Notes = append(frame.Notes, "! "+finding.Message+"   → "+finding.Next)
	}
	return frame, nil
}

// text is a frame without a screen.
func text(w io.Writer, f screen.Frame) error {
	fmt.Fprintln(w, f.Title)
	if err := (printers.Table{Header: f.Header, Rows: f.Rows, Columns: printers.Columns(w)}).Write(w); err != nil {
		return err
	}
	for _, note := range f.Notes {
		fmt.Fprintln(w, note)
	}
	return nil
}
