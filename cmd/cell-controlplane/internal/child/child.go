// Package child ties the controllers' process to the process of the apiserver, so that neither outlives
// the other.
//
// Two pipes carry the whole protocol. The child's standard input is the leash: the line "go" lets the
// controllers start, and end of file, which also comes when the parent dies in whatever way, ends them.
// On standard output the child says "ready". The parent learns of the child's death by waiting for it.
// On Linux the kernel moreover signals the child when its parent dies.
package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

const (
	goLine    = "go"
	readyLine = "ready"
)

// Process is a started child, seen from its parent.
type Process struct {
	cmd   *exec.Cmd
	leash io.WriteCloser
	ready chan struct{}
	done  chan struct{}
	err   error // of the child's end; valid once done is closed
}

// Start runs this binary again with the arguments. The child does nothing until [Process.Go].
func Start(args []string, stderr io.Writer) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding own binary: %w", err)
	}
	// No context ends the child: it is let go in order, by its leash.
	cmd := exec.CommandContext(context.Background(), self, args...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = attributes()
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting controllers: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting controllers: %w", err)
	}
	p := &Process{cmd: cmd, leash: leash, ready: make(chan struct{}), done: make(chan struct{})}
	started := make(chan error)
	go p.own(stdout, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting controllers: %w", err)
	}
	return p, nil
}

// own starts the child and waits for its end, all on one thread: the kernel's death signal follows the
// thread that made the child, and Go may end threads that no goroutine is bound to.
func (p *Process) own(stdout io.Reader, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == readyLine {
			close(p.ready)
			break
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	if p.err = p.cmd.Wait(); p.err == nil {
		p.err = errors.New("exit status 0")
	}
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Go lets the controllers start.
func (p *Process) Go() error {
	if _, err := fmt.Fprintln(p.leash, goLine); err != nil {
		return fmt.Errorf("starting controllers: %w", err)
	}
	return nil
}

// Ready is closed when the controllers run.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended, once Done is closed. It is never nil.
func (p *Process) Err() error { return p.err }

// Stop asks the child to end, waits, and kills it if it takes longer than the grace period.
func (p *Process) Stop(grace time.Duration) {
	_ = p.leash.Close() // fails only if the child is gone already
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill() // fails only if the child is gone already
	<-p.done
}
