package command

import (
	"io"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// TUI is the flag --tui of commands that draw on a terminal what they otherwise print.
type TUI struct{ mode string }

const (
	tuiFlag  = "tui"
	tuiAuto  = "auto"
	tuiNever = "never"
)

// AddFlag adds it. what says what is drawn, and where.
func (t *TUI) AddFlag(flags *pflag.FlagSet, what string) {
	flags.StringVar(&t.mode, tuiFlag, tuiAuto, what+": "+tuiAuto+" or "+tuiNever)
}

// Check is an error for what the flag cannot be.
func (t *TUI) Check() error {
	if t.mode != tuiAuto && t.mode != tuiNever {
		return exit.Flagf(tuiFlag, printers.Clip(t.mode), "be %s or %s", tuiAuto, tuiNever).WithHint("leave --%s out", tuiFlag)
	}
	return nil
}

// Live says whether to draw on out: a person is there, out is a terminal that can be drawn on, and the flag does not say no.
func (t *TUI) Live(env *Env, out io.Writer) bool {
	return t.mode != tuiNever && env.Interactive && env.Draws(out)
}

// Draws says whether out is a terminal on which lines can be written over.
func (e *Env) Draws(out io.Writer) bool {
	file, ok := out.(interface{ Fd() uintptr })
	return ok && e.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}
