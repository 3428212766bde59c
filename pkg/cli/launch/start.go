package launch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

// defaultTimeout is for a router whose control plane is slow, or gone: it waits some seconds before it begins with
// what it has on disk.
const defaultTimeout = time.Minute

// starter are the flags of `run`, and how long to wait.
type starter struct {
	program Program
	runner  Runner
	flags   *pflag.FlagSet
	timeout time.Duration
}

func (s *starter) addFlags(flags *pflag.FlagSet) {
	s.flags, s.runner = flags, s.program.Flags(flags)
	flags.DurationVar(&s.timeout, "timeout", defaultTimeout,
		"How long to wait until the "+s.program.Noun+" is ready; then it is ended again")
}

func newStart(p Program) *cobra.Command {
	s := &starter{program: p}
	cmd := &cobra.Command{
		Use:   "start " + p.Required,
		Short: "Start the " + p.Noun + " in the background, and wait until it is ready",
		Long: "Start the " + p.Noun + " in the background, with the flags of `" + p.Name + " run`, and return when it is\n" +
			"ready. If it is not in time, or ends, nothing is left running and the last lines of its log are shown.\n" +
			"Where it runs already nothing is changed.\n\n" +
			"The log is the file " + LogName + " in the state directory, put aside at --" + command.LogSizeFlag + ", by a start as\n" +
			"well. A reboot ends the " + p.Noun + ": where it shall come back, let a service manager start it\n" +
			"(`" + p.Name + " export`).",
		Example: p.example("Start it and see that it runs", "start "+p.Required) + "\n  " + p.Env.Program + " " + p.Name + " status",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(s),
	}
	s.addFlags(cmd.Flags())
	return cmd
}

// Complete checks the flags.
func (s *starter) Complete([]string) error {
	if s.timeout <= 0 {
		return exit.Flagf("timeout", s.timeout, "be positive").WithHint("--timeout %s", defaultTimeout)
	}
	return s.runner.Complete(nil)
}

// Run starts the daemon where it does not run.
func (s *starter) Run(ctx context.Context) error {
	at, err := s.program.placeOf(s.runner.Directory())
	if err != nil {
		return err
	}
	return s.start(ctx, at, "started")
}

// start starts the daemon at a place; done is what was done when that has worked.
func (s *starter) start(ctx context.Context, at place, done string) error {
	p := s.program
	spec, chosen, err := s.spec(at)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(at.dir, 0o700); err != nil {
		return command.Unusable(at.dir, err)
	}
	_, running, err := daemon.Inspect(at.lock())
	if err != nil {
		return command.Unusable(at.dir, err)
	}
	if running {
		s.warnOfChange(at, chosen)
	} else if err := chosen.write(at.dir); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	result, err := daemon.Start(waiting, spec)
	if ended, ok := errors.AsType[*daemon.StartError](err); ok && ended.Exit == int(exit.Refused) {
		// Somebody else has started one in this very moment, and that one has the lock.
		result, err = daemon.Start(waiting, spec)
	}
	if err != nil {
		return s.explain(at, spec, err)
	}
	holder, _, err := daemon.Inspect(at.lock())
	if err != nil {
		return err
	}
	if result.AlreadyRunning {
		done = "already running"
	}
	fmt.Fprintf(p.Env.Out, "%s %s: pid %d, %s\n", p.Noun, done, holder.PID, holder.Address)
	if !result.AlreadyRunning {
		fmt.Fprintf(p.Env.ErrOut, "log: %s\nundo: %s\n", spec.LogPath, p.hint(at, "stop"))
	}
	return nil
}

// spec says how the daemon is started, and with which of the flags of `run`.
func (s *starter) spec(at place) (daemon.Spec, settings, error) {
	p := s.program
	executable, err := home.Program(p.Env.Getenv)
	if err != nil {
		return daemon.Spec{}, nil, err
	}
	chosen, err := p.given(s.flags)
	if err != nil {
		return daemon.Spec{}, nil, err
	}
	size, err := s.flags.GetInt(command.LogSizeFlag)
	if err != nil {
		return daemon.Spec{}, nil, fmt.Errorf("flags of %s: %w", p.Name, err)
	}
	log := at.log()
	if file := chosen["log-file"]; file != "" {
		log = file
	}
	effective := maps.Clone(chosen)
	effective["state-dir"], effective["log-file"] = at.dir, log
	return daemon.Spec{
		Name:     p.Noun,
		Command:  append([]string{executable, p.Name, "run"}, effective.arguments()...),
		LockPath: at.lock(), LogPath: log, MaxLog: int64(size) << 20,
		Ready:         func(ctx context.Context, _ string) error { return ready(ctx, at) },
		DieWithParent: p.Env.DieWithParent,
	}, chosen, nil
}

// ready asks the admin port of the daemon that holds the lock.
func ready(ctx context.Context, at place) error {
	holder, held, err := daemon.Inspect(at.lock())
	switch {
	case err != nil:
		return err
	case !held || holder.Address == "":
		return errors.New("it does not serve yet")
	case holder.Admin == "":
		return nil // there is nobody to ask: it has said that it serves
	}
	_, err = AskAt(holder.Admin)(ctx, "/readyz")
	return err
}

// warnOfChange says that flags which differ from those of the running daemon have no effect.
func (s *starter) warnOfChange(at place, chosen settings) {
	had, err := readSettings(at.dir)
	if err == nil && had != nil && !maps.Equal(had, chosen) {
		s.program.Env.Warn("the %s runs with other flags; to change them: %s", s.program.Noun, s.program.hint(at, "restart FLAGS"))
	}
}

// explain turns a start that has failed into an error for people.
func (s *starter) explain(at place, spec daemon.Spec, err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
		return command.Unusable(at.dir, err)
	}
	ended, ok := errors.AsType[*daemon.StartError](err)
	if ok && ended.Log == "" {
		return exit.Errorf(exit.Failure, "%w", err).WithHint("%s %s run, with the same flags, says why", s.program.Env.Program, s.program.Name)
	}
	return exit.Errorf(exit.Failure, "%w", err).WithHint("remove the cause that the last lines name, then run the same command again; all of it: %s", spec.LogPath)
}
