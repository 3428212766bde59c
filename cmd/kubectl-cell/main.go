// Command kubectl-cell runs a Kubernetes federation as several independent cells. It is a kubectl
// plugin: kubectl runs it for `kubectl cell …`.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	_ "github.com/kubecell/kubectl-cell/cmd/kubectl-cell/internal/lategc"
	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

func main() {
	os.Exit(run())
}

// hangup is what SIGHUP does: it ends the command, unless that is a daemon, which goes on.
type hangup struct {
	instead atomic.Pointer[func()]
}

// call has SIGHUP call a function from now on.
func (h *hangup) call(instead func()) { h.instead.Store(&instead) }

// withoutTerminal ends the context when the terminal goes away. That may be said several times, by the kernel and
// by a shell, and a command that finishes what it has begun must outlive all of them. One that writes to a pipe
// which nobody reads any more gets an error for it, and does not end in the middle of its work.
func (h *hangup) withoutTerminal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() { // ends with the process
		for range signals {
			if instead := h.instead.Load(); instead != nil {
				(*instead)()
				continue
			}
			cancel()
		}
	}()
	return ctx
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks a command to end; after it, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	var hup hangup
	ctx = hup.withoutTerminal(ctx)
	env := &command.Env{
		IOStreams:   genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Flags:       genericclioptions.NewConfigFlags(true),
		Clock:       clock.RealClock{},
		Getenv:      os.Getenv,
		Interactive: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())),
		Program:     command.ProgramName(os.Args[0]),
		Hangup:      hup.call,
	}
	return int(cli.Run(ctx, env, os.Args))
}
