package launch

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type logsOptions struct {
	program  Program
	stateDir string
	follow   bool
	previous bool
	tail     int
}

func newLogs(p Program) *cobra.Command {
	o := &logsOptions{program: p}
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print the log of the " + p.Noun + " of this machine",
		Long: "Print the log of the " + p.Noun + " of this machine, whether or not it runs: JSON, one line an\n" +
			"event, and whatever it wrote when it ended by an error. With -f the command goes on until Ctrl-C,\n" +
			"also over a restart.",
		Example: p.example("The last lines, and whatever comes", "logs --tail 20 -f") + "\n\n" +
			p.example("What was before the log was put aside", "logs --previous"),
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	p.stateDirFlag(flags, &o.stateDir)
	flags.BoolVarP(&o.follow, "follow", "f", false, "Go on with what is added")
	flags.BoolVarP(&o.previous, "previous", "p", false, "Print the log that was put aside instead")
	flags.IntVar(&o.tail, "tail", -1, "Number of lines from the end; -1 for all")
	return cmd
}

// Complete checks the flags.
func (o *logsOptions) Complete([]string) error {
	if o.follow && o.previous {
		return exit.Exclusive("follow", "previous").
			WithHint("%s %s logs --previous", o.program.Env.Program, o.program.Name)
	}
	if o.tail < -1 {
		return exit.Flagf("tail", o.tail, "be -1 or more").WithHint("--tail 20")
	}
	return nil
}

// Run prints the log.
func (o *logsOptions) Run(ctx context.Context) error {
	at, err := o.program.find(o.stateDir)
	if err != nil {
		return err
	}
	path, err := o.path(at)
	if err != nil {
		return err
	}
	o.program.noteHidden(at, "logs", o.program.journal())
	out := printers.Verbatim(o.program.Env.Out)
	offset, err := daemon.Tail(out, path, o.tail)
	if errors.Is(err, fs.ErrNotExist) && o.previous {
		return exit.Errorf(exit.Failure, "there is no previous log: the log was never put aside").WithHint("%s", o.program.hint(at, "logs"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exit.Errorf(exit.Failure, "there is no log %s: the %s was never started here", path, o.program.Noun).
			WithHint("%s", o.program.hint(at, "status"))
	}
	if err != nil || !o.follow {
		return err
	}
	if err := daemon.Follow(ctx, out, path, offset); err != nil {
		return err
	}
	return ctx.Err()
}

// inJournal is the error of a log that the service manager has.
func (o *logsOptions) inJournal() error {
	return exit.Errorf(exit.Failure, "the %s of the unit %s writes its log to the journal, not to a file", o.program.Noun, o.program.Unit()).
		WithHint("%s", o.program.journal())
}

// path is where the daemon says that its log is, also one that has ended, else where start has it.
func (o *logsOptions) path(at place) (string, error) {
	holder, held, err := daemon.Inspect(at.lock())
	if err != nil {
		return "", command.Unusable(at.dir, err)
	}
	path := at.log()
	had, err := readSettings(at.dir)
	if err != nil {
		return "", err
	}
	if had["log-file"] != "" {
		path = had["log-file"]
	}
	if held && holder.Log != "" {
		path = holder.Log
	}
	_, err = os.Stat(path)
	if at.unit && err != nil {
		return "", o.inJournal()
	}
	if o.previous {
		return path + daemon.PreviousLog, nil
	}
	if held && holder.Log == "" && err != nil {
		return "", exit.Errorf(exit.Failure, "the %s (pid %d) writes its log to standard error, not to a file", o.program.Noun, holder.PID).
			WithHint("under systemd: journalctl _PID=%d ; or run it with --log-file FILE", holder.PID)
	}
	return path, nil
}
