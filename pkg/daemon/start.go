package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// ReadyPrefix begins the line by which a daemon says that it can be used; a URL follows.
const ReadyPrefix = "ready "

// Spec says how a daemon is started.
type Spec struct {
	// Name is what messages call it.
	Name string
	// Command is the program and its arguments.
	Command []string
	// Env is the environment; the caller's where nil.
	Env []string
	// LockPath is the lock that the process takes for itself.
	LockPath string
	// LogPath is the file to which its standard output and error are appended.
	LogPath string
	// MaxLog is the size in bytes from which a log is put aside before the start; 8 MiB where zero.
	MaxLog int64
	// Ready, where set, says by nil that the daemon can be used. It is asked until it does: once
	// the ready line was seen, and of a daemon that runs already, since that may be starting still.
	Ready func(ctx context.Context, address string) error
	// Grace is how long the process gets to end when the start is given up; 5 s where zero.
	Grace time.Duration
	// DieWithParent has the kernel kill the daemon when this process dies (Linux only): for
	// daemons of a test.
	DieWithParent bool
}

// Result is what Start found or made.
type Result struct {
	// Address that the daemon serves under.
	Address string
	// AlreadyRunning is true when nothing was started.
	AlreadyRunning bool
}

// StartError is the end of a process that was not ready yet. Log are its last lines.
type StartError struct {
	Name string
	// Exit is the exit status, or -1 when it was ended by a signal.
	Exit int
	Err  error
	Log  string
}

func (e *StartError) Error() string {
	return fmt.Sprintf("%s ended before it was ready: %v%s", e.Name, e.Err, e.Log)
}

func (e *StartError) Unwrap() error { return e.Err }

// Start runs the daemon in a session of its own and returns when it is ready. When the lock is held
// already, nothing is started. When ctx ends or the process does, nothing is left running and the
// error repeats the last lines of the log; the log stays.
//
// The goroutine that waits for the process ends with it.
func Start(ctx context.Context, spec Spec) (Result, error) {
	holder, held, err := Inspect(spec.LockPath)
	if err != nil {
		return Result{}, err
	}
	if held {
		return spec.adopt(ctx, holder)
	}
	log, offset, err := openLog(spec.LogPath, cmp.Or(spec.MaxLog, defaultMaxLog))
	if err != nil {
		return Result{}, err
	}
	defer log.Close()
	cmd := exec.Command(spec.Command[0], spec.Command[1:]...)
	cmd.Env = spec.Env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(spec.DieWithParent)
	ended, err := launch(cmd, spec.DieWithParent)
	if err != nil {
		return Result{}, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	address, err := spec.awaitReady(ctx, &logReader{file: log, offset: offset}, ended)
	if err == nil && spec.heldByAnother(cmd.Process) {
		spec.giveUp(cmd.Process, ended)
		return Result{Address: address, AlreadyRunning: true}, nil
	}
	if err == nil {
		return Result{Address: address}, nil
	}
	if exited, ok := errors.AsType[*exec.ExitError](err); ok || errors.Is(err, errExitedCleanly) {
		code := 0
		if ok {
			code = exited.ExitCode()
		}
		return Result{}, &StartError{Name: spec.Name, Exit: code, Err: err, Log: tail(log, offset)}
	}
	spec.giveUp(cmd.Process, ended)
	return Result{}, fmt.Errorf("start %s: %w%s", spec.Name, err, tail(log, offset))
}

// errExitedCleanly stands for exit status 0 of a process that should have stayed.
var errExitedCleanly = errors.New("exit status 0")

// awaitReady returns the address once the daemon is ready. An error of the process's end is returned
// as it is.
func (s Spec) awaitReady(ctx context.Context, log *logReader, ended <-chan error) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-ended:
			if err == nil {
				err = errExitedCleanly
			}
			cancel(err)
		case <-ctx.Done():
		}
	}()
	address, err := awaitLine(ctx, log)
	if err == nil {
		err = s.poll(ctx, address, func() error { return nil })
	}
	return address, err
}

// heldByAnother says that somebody else has started a daemon at the same instant, and that it is that one which is ready: the
// log is that of both. Ours would wait to be refused, or take the lock when the other one is stopped.
func (s Spec) heldByAnother(ours *os.Process) bool {
	holder, held, err := Inspect(s.LockPath)
	return err == nil && held && holder.PID != ours.Pid
}

// adopt waits for a daemon that somebody else has started.
func (s Spec) adopt(ctx context.Context, holder Holder) (Result, error) {
	err := s.poll(ctx, holder.Address, func() error {
		_, held, err := Inspect(s.LockPath)
		if err == nil && !held {
			err = errors.New("it has ended")
		}
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("wait for %s, which runs as pid %d: %w", s.Name, holder.PID, err)
	}
	return Result{Address: holder.Address, AlreadyRunning: true}, nil
}

// poll asks Ready until it agrees, ctx ends or alive says why there is no point in asking.
func (s Spec) poll(ctx context.Context, address string, alive func() error) error {
	for s.Ready != nil {
		err := s.Ready(ctx, address)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		if err := alive(); err != nil {
			return err
		}
		_ = pause.For(ctx, poll)
	}
	return context.Cause(ctx)
}

func awaitLine(ctx context.Context, log *logReader) (string, error) {
	for {
		lines, err := log.lines()
		if err != nil {
			return "", err
		}
		for _, line := range lines {
			if address, ok := strings.CutPrefix(line, ReadyPrefix); ok {
				return strings.TrimSpace(address), nil
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		_ = pause.For(ctx, poll)
	}
}

func (s Spec) giveUp(process *os.Process, ended <-chan error) {
	grace := s.Grace
	if grace == 0 {
		grace = 5 * time.Second
	}
	_ = process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended: //nolint:errcheck // that it ended is all that counts
		return
	case <-timer.C:
	}
	_ = process.Kill()
	<-ended //nolint:errcheck // see above
}
