package sandbox

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// progress shows what an operation tells: in place on a terminal, else one line per change of state.
type progress struct {
	env *command.Env
	tui command.TUI
}

func (p *progress) addFlag(cmd *cobra.Command) {
	p.tui.AddFlag(cmd.Flags(), "Show progress in place on a terminal")
}

func (p *progress) check() error { return p.tui.Check() }

// show runs do and shows what it tells.
func (p *progress) show(title string, do func(tell func(sandbox.Event)) error) error {
	if !p.tui.Live(p.env, p.env.ErrOut) { // which progress goes to
		return do(func(e sandbox.Event) { printEvent(p.env.ErrOut, e) })
	}
	environ := []string{"TERM=" + p.env.Getenv("TERM"), "NO_COLOR=1"}
	return steps.Run(p.env.ErrOut, environ, title, p.env.Clock.Now(), func(tell func(steps.Event)) error {
		return do(func(e sandbox.Event) { tell(step(e)) })
	})
}

func step(e sandbox.Event) steps.Event {
	states := map[sandbox.State]steps.State{
		sandbox.Running: steps.Running, sandbox.Done: steps.Done, sandbox.Already: steps.Already,
		sandbox.Failed: steps.Failed, sandbox.Note: steps.Note,
	}
	return steps.Event{Step: e.Step, State: states[e.State], Detail: e.Detail, At: e.At}
}

// printEvent writes one line per change of state.
func printEvent(w io.Writer, e sandbox.Event) {
	switch e.State {
	case sandbox.Running:
		fmt.Fprintf(w, "… %s\n", e.Step)
	case sandbox.Done:
		fmt.Fprintf(w, "✔ %s %s%s\n", e.Step, spaced(e.Detail), seconds(e.Elapsed))
	case sandbox.Already:
		fmt.Fprintf(w, "✔ %s %salready\n", e.Step, spaced(e.Detail))
	case sandbox.Failed:
		fmt.Fprintf(w, "✗ %s failed after %s\n", e.Step, seconds(e.Elapsed))
	case sandbox.Note:
		fmt.Fprintf(w, "%s: %s\n", e.Step, e.Detail)
	}
}

func spaced(detail string) string {
	if detail == "" {
		return ""
	}
	return detail + " "
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
