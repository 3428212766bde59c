package sandbox

import (
	"fmt"
	"io"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// withProgress runs do and shows what it tells.
func withProgress(env *command.Env, _ string, do func(progress func(sandbox.Event)) error) error {
	return do(func(e sandbox.Event) { printEvent(env.ErrOut, e) })
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
