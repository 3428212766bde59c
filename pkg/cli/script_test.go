package cli_test

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

var (
	// update rewrites the golden parts of the scripts: go test ./pkg/cli -update
	update = flag.Bool("update", false, "rewrite the expected output in the scripts")
	// planes are the RCP and three cells of the scripts in testdata/cells.
	planes = sandboxtest.NewPool(4)
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// TestScripts runs the scripts that need no server.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Setup:              isolate,
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"cell": runCell, "completes": completes, "repeat": repeat},
		UpdateScripts:      *update,
		RequireUniqueNames: true,
	})
}

// isolate gives a script a home of its own and a kubeconfig without servers.
func isolate(env *testscript.Env) error {
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("KUBECTL_CELL_HOME", env.WorkDir+"/state")
	kubeconfig := filepath.Join(env.WorkDir, "no-servers")
	env.Setenv("KUBECONFIG", kubeconfig)
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		return err
	}
	env.Setenv("KUBECELL_BINARY", cell) // which daemons are started from
	env.Defer(func() { endDaemons(filepath.Join(env.WorkDir, "state")) })
	return os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600)
}

// endDaemons ends those that a script has left running below a state directory.
func endDaemons(stateDir string) {
	for _, name := range []string{"router", "backup"} {
		// One that does not end now ends with the test process.
		_, _ = daemon.Stop(context.Background(), filepath.Join(stateDir, name, command.LockName), 0)
	}
}

// runCell is the command of scripts that runs kubectl cell in this process:
//
//	cell CODE ARGUMENT…
//
// CODE is the exit code that is expected. "< FILE" at the end is standard input.
func runCell(ts *testscript.TestScript, _ bool, args []string) { runCellTo(ts, args, ts.Stdout()) }

// completes is the command of scripts that completes the last of its arguments, as TAB does, and again while the server
// takes longer than somebody waits at a terminal, until a line begins with WORD:
//
//	completes WORD ARGUMENT…
func completes(ts *testscript.TestScript, _ bool, args []string) {
	var out strings.Builder
	for range 30 {
		out.Reset()
		runCellTo(ts, append([]string{"0", "__complete"}, args[1:]...), &out)
		if strings.Contains("\n"+out.String(), "\n"+args[0]) {
			break
		}
	}
	_, err := io.WriteString(ts.Stdout(), out.String())
	ts.Check(err)
}

func runCellTo(ts *testscript.TestScript, args []string, out io.Writer) {
	if len(args) == 0 {
		ts.Fatalf("usage: cell CODE ARGUMENT… [< FILE]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	args = args[1:]
	in := ""
	if n := len(args); n >= 2 && args[n-2] == "<" {
		in, args = ts.ReadFile(args[n-1]), args[:n-2]
	}
	flags := genericclioptions.NewConfigFlags(true)
	// What client-go would read from the environment of the process.
	*flags.KubeConfig = ts.Getenv("KUBECONFIG")
	*flags.CacheDir = ts.MkAbs("cache")
	argv0 := "kubectl-cell"
	if ts.Getenv("ARGV0") != "" {
		argv0 = ts.Getenv("ARGV0")
	}
	env := &command.Env{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(in), Out: out, ErrOut: ts.Stderr()},
		Flags:     flags,
		Clock:     clocktesting.NewFakePassiveClock(now(ts)),
		Getenv:    ts.Getenv,
		Program:   command.ProgramName(argv0),

		DieWithParent: true,
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if got := cli.Run(ctx, env, append([]string{argv0}, args...)); got != exit.Code(want) {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// repeat is the command of scripts that appends a long word to a file:
//
//	repeat FILE LETTER COUNT
func repeat(ts *testscript.TestScript, _ bool, args []string) {
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = f.WriteString(strings.Repeat(args[1], count) + "\n")
	ts.Check(err)
	ts.Check(f.Close())
}

// now is the time in a script: another one than usual where its environment says so.
func now(ts *testscript.TestScript) time.Time {
	text := ts.Getenv("NOW")
	if text == "" {
		return scriptTime()
	}
	at, err := time.Parse(time.DateOnly, text)
	ts.Check(err)
	return at
}

// scriptTime is the time in every script.
func scriptTime() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
