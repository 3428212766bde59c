// Package command is what every command of kubectl cell is built from: the environment it runs in,
// the clients it asks, and the questions it puts to the person at the terminal.
//
// A command lives in pkg/cli/<verb> and has three parts. Its flags fill an Options value, Complete
// and Validate turn that into a plan, Run carries the plan out with the streams, clock and clients of
// an [Env]. Nothing in a command reads the process's own state, so that each runs in a test.
package command

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// Env is the world as a command sees it. It is made once, in main or in a test.
type Env struct {
	genericiooptions.IOStreams
	// Flags are kubectl's own connection flags.
	Flags *genericclioptions.ConfigFlags
	Clock clock.PassiveClock
	// Getenv is os.Getenv, or a test's.
	Getenv func(string) string
	// Interactive is true when standard input and standard output are terminals.
	Interactive bool
	// Program is what the user typed to get here, such as "kubectl cell", and from [Env.Aim] on what is to be typed to get
	// to the same control plane; hints begin with it.
	Program string
	// bare is Program before Aim; empty until then.
	bare string
	// Args are what the user typed behind Program.
	Args []string
	// Hangup has SIGHUP call a function instead of ending the command, for daemons; nil where there are no
	// signals.
	Hangup func(func())
	// DieWithParent ties daemons that a command starts to this process, for tests.
	DieWithParent bool
}

// Federation is the connection to the server that serves the Ring: the RCP or a router.
//
// What is asked through it is answered within [AnswerWithin], or fails; a refusal with 503 counts as an answer.
type Federation struct {
	Config *rest.Config
	Kube   kubernetes.Interface
	Cell   *client.Client
	// Patient waits, and repeats what it is asked to repeat later. It is for drivers, which outlast a restart of the
	// server.
	Patient *rest.Config
	// Clock is that of the server: whether somebody lives who renews a Lease is judged by no other.
	Clock *lease.Clock
}

// Connect builds the clients for the context that the user chose. It makes no request; a kubeconfig
// that cannot be read or names no server is a user error.
func (e *Env) Connect() (*Federation, error) {
	config, err := e.Flags.ToRESTConfig()
	if err != nil {
		return nil, exit.Errorf(exit.Failure, "read kubeconfig: %w", err).
			WithHint("kubectl config get-contexts ; choose one with --context, or start a sandbox: %s sandbox up", e.Program)
	}
	// A command asks a handful of questions and ends; it need not be throttled on this side.
	config.QPS, config.Burst = -1, -1
	soon := prompted(config)
	rcp := &lease.Clock{}
	soon.Wrap(rcp.Watch)
	kube, cell, err := client.Connect(soon)
	if err != nil {
		return nil, err
	}
	return &Federation{Config: soon, Kube: kube, Cell: cell, Patient: config, Clock: rcp}, nil
}

// Namespace is the namespace that the user chose, or that of the context, or "default".
func (e *Env) Namespace() (string, error) {
	namespace, _, err := e.Flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("read namespace from kubeconfig: %w", err)
	}
	return namespace, nil
}

// ChosenNamespace is the namespace that -n names; empty without -n, whatever the context says.
func (e *Env) ChosenNamespace() string {
	if e.Flags.Namespace == nil {
		return ""
	}
	return *e.Flags.Namespace
}

// uniquePart is how much of a random name tells two drivers of one person apart.
const uniquePart = 5

// Identity is user@host with something that tells two processes apart: the Lease of a run goes by it. It is new at each
// call.
func (e *Env) Identity() string {
	return fmt.Sprintf("%s@%s-%s", e.person(), e.Host(), string(uuid.NewUUID())[:uniquePart])
}

// person is who runs this, by the environment or else by the machine's own list.
func (e *Env) person() string {
	if name := e.Getenv("USER"); name != "" {
		return name
	}
	if known, err := user.Current(); err == nil {
		return known.Username
	}
	return "someone"
}

// Host is the name of this machine.
func (e *Env) Host() string {
	host, err := os.Hostname()
	if err != nil {
		return "somewhere"
	}
	return host
}

// Warn writes one line to standard error.
func (e *Env) Warn(format string, args ...any) {
	fmt.Fprintf(e.ErrOut, "warning: "+format+"\n", args...)
}

// Typed is a text of this tool that names commands, such as a stored message, as the user would type them.
func (e *Env) Typed(text string) string { return exit.Typed(e.Program, text) }

// Options is one command's flags and arguments, after parsing.
type Options interface {
	// Complete fills in what follows from the arguments and the environment. It may read local
	// files and fails with a usage error.
	Complete(args []string) error
	// Run does the work. Whatever it changed before it fails is part of its error.
	Run(ctx context.Context) error
}

// RunE adapts o to cobra.
func RunE(o Options) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.Complete(args); err != nil {
			return err
		}
		return o.Run(cmd.Context())
	}
}
