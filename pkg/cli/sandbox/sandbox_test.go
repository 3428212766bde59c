package sandbox_test

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubectl-cell": func() { os.Exit(run(os.Args[1:])) }})
}

// run is the command with the process's own streams, in a process of its own.
func run(args []string) int {
	env := &command.Env{
		IOStreams: genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr},
		Flags:     genericclioptions.NewConfigFlags(true),
		Clock:     clock.RealClock{}, Getenv: os.Getenv, Program: "kubectl cell",
	}
	cmd := sandbox.NewCommand(env)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(context.Background())
	exit.Report(os.Stderr, exit.Plugin, err)
	return int(exit.CodeOf(err))
}

func TestScripts(t *testing.T) {
	plane, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "kubecell-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// Not below the script's own directory: its path may be too long for a socket.
			own, err := os.MkdirTemp(home, "")
			env.Defer(func() { endAll(t, own+"/state") })
			env.Setenv("KUBECTL_CELL_HOME", own+"/state")
			env.Setenv("KUBECONFIG", env.WorkDir+"/kubeconfig")
			env.Setenv("KUBECELL_CONTROLPLANE", plane)
			env.Setenv("KUBECELL_BINARY", cell)
			return err
		},
	})
}

// endAll ends what a script that failed has left running.
func endAll(t *testing.T, stateDir string) {
	m, err := sandboxtest.NewManager(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := m.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := m.Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	}
}
