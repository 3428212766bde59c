//go:build linux

package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/wait"
	"mvdan.cc/sh/v3/syntax"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

const (
	// examplePatience is how long an example may take, and how long is waited for what it is to find.
	examplePatience = 2 * time.Minute
	// exampleAgain is how often is looked.
	exampleAgain = 50 * time.Millisecond
)

// example is a line of the examples in --help, and how it is run: by bash, in a folder that all of them share, by the real
// program below kubectl.
type example struct {
	line string
	// given is done before, for what has to be there.
	given string
	// here is done before in the same shell: where to, and what stands in for programs that are not everywhere.
	here string
	// as are pairs: words of the line, and what they stand for here.
	as []string
	// with is added to the line: flags for where there is no terminal, and ports that nobody else has.
	with string
	// code is how it ends, where that is not 0. The command's documentation has it.
	code exit.Code
	// prints is in what it prints.
	prints string
	// until is what is printed by one that goes on until SIGTERM.
	until string
	// awaits says that what it finds takes a moment: it is run again until it ends as it is to end.
	awaits bool
}

// TestEveryExampleHasAWayToBeRun: each line of the examples of all commands is run by TestExamplesRun, and ends as documented.
func TestEveryExampleHasAWayToBeRun(t *testing.T) {
	known := map[string]bool{}
	for _, e := range slices.Concat(examplesOfInit(), examplesInOrder()) {
		if known[e.line] {
			t.Errorf("%s is run twice", e.line)
		}
		known[e.line] = true
		if e.code != exit.OK && !documented(t, e) {
			t.Errorf("%s is to end with %d, which its command does not document", e.line, e.code)
		}
	}
	shown := map[string]bool{}
	for _, cmd := range allCommands(newRoot()) {
		for _, line := range linesOf(t, cmd) {
			if shown[line] = true; !known[line] {
				t.Errorf("no test runs this example of %s: %s", cmd.CommandPath(), line)
			}
		}
	}
	for line := range known {
		if !shown[line] {
			t.Errorf("no command has the example %s", line)
		}
	}
}

// documented says whether the command of an example may end with its code.
func documented(t *testing.T, e example) bool {
	t.Helper()
	lines, err := commandLines(e.line)
	if err != nil || len(lines) == 0 {
		t.Fatalf("%s: %v", e.line, err)
	}
	cmd, _, err := newRoot().Find(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	codes, _ := cli.ExitCodes(strings.TrimPrefix(cmd.CommandPath(), "kubectl cell "))
	return slices.ContainsFunc(codes, func(c cli.ExitCode) bool { return c.Code == e.code })
}

// linesOf are the commands of the examples of cmd, each on one line.
func linesOf(t *testing.T, cmd *cobra.Command) (out []string) {
	t.Helper()
	file, err := syntax.NewParser().Parse(strings.NewReader(cmd.Example), cmd.CommandPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range file.Stmts {
		text := cmd.Example[statement.Pos().Offset():statement.End().Offset()]
		out = append(out, strings.Join(strings.Fields(strings.ReplaceAll(text, "\\\n", " ")), " "))
	}
	return out
}

// TestExamplesRun runs all examples, one after the other: the federations that they speak of are made by some of them.
func TestExamplesRun(t *testing.T) {
	work, err := os.MkdirTemp("", "ex-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	environ := exampleEnvironment(t, work)
	t.Cleanup(func() {
		const end = "for name in router backup; do kubectl cell $name stop; kubectl cell $name stop --state-dir $ROOT/var/lib/kubectl-cell/$name-2; done\n" +
			"kubectl cell sandbox down --all"
		if out, err := bash(t, work, environ, end); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("init", func(t *testing.T) {
		unfounded(t, work)
		for _, e := range examplesOfInit() {
			t.Run(e.line, func(t *testing.T) { e.run(t, work, environ) })
		}
	})
	for _, e := range examplesInOrder() {
		if !t.Run(e.line, func(t *testing.T) { e.run(t, work, environ) }) && strings.HasSuffix(e.line, "sandbox up --cells 3") {
			t.Fatal("there is no sandbox")
		}
	}
}

// unfounded writes the kubeconfigs of three control planes that belong to nobody yet, and end with the test.
func unfounded(t *testing.T, work string) {
	t.Helper()
	for i, config := range sandboxtest.ControlPlanes(t, 3) {
		file := filepath.Join(work, []string{"unfounded.yaml", "c1.yaml", "c2.yaml"}[i])
		if err := os.WriteFile(file, sandboxtest.Kubeconfig(t, config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// exampleEnvironment is that of a person with a home, this program on PATH as it is installed, and files of the machine below
// $ROOT. What stands in for programs that take root is in $STANDINS.
func exampleEnvironment(t *testing.T, work string) []string {
	t.Helper()
	plane, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	standIns, port := standInMachine(t, work)
	bin := filepath.Join(work, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cell, filepath.Join(bin, "kubectl-cell")); err != nil {
		t.Fatal(err)
	}
	return []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "STANDINS=" + standIns, "HOME=" + work, "TMPDIR=" + work, "USER=you", "LC_ALL=C.UTF-8",
		"ROOT=" + work, "PORT=" + port, "KUBECONFIG=" + filepath.Join(work, "kubeconfig"),
		"KUBECTL_CELL_HOME=" + filepath.Join(work, "var/lib/kubectl-cell"), "KUBECELL_CONTROLPLANE=" + plane, "KUBECELL_BINARY=" + cell,
	}
}

// run runs the example as it is to be run.
func (e example) run(t *testing.T, work string, environ []string) {
	if out, err := bash(t, work, environ, e.given); err != nil {
		t.Fatalf("what has to be there: %v\n%s", err, out)
	}
	line := strings.NewReplacer(e.as...).Replace(e.line) + " " + e.with
	ctx, cancel := context.WithTimeout(t.Context(), examplePatience)
	defer cancel()
	out, code := "", -1
	err := wait.PollUntilContextCancel(ctx, exampleAgain, true, func(ctx context.Context) (bool, error) {
		var err error
		if out, code, err = e.once(ctx, work, environ, line); err != nil {
			return false, err
		}
		return !e.awaits || code == int(e.code), nil
	})
	if err != nil || code != int(e.code) {
		t.Fatalf("%s: %v, exit code %d; want %d\n%s", line, err, code, e.code, out)
	}
	if !strings.Contains(out, e.prints) {
		t.Errorf("%s does not print %q:\n%s", line, e.prints, out)
	}
}

// once runs the line, to its end or until it has printed what it goes on after.
func (e example) once(ctx context.Context, work string, environ []string, line string) (out string, code int, err error) {
	script := e.here + "\n" + line
	if e.until != "" {
		script = e.here + "\nexec " + line
	}
	printed, err := os.Create(filepath.Join(work, "printed"))
	if err != nil {
		return "", 0, err
	}
	defer printed.Close()
	cmd := exec.CommandContext(ctx, "bash", "-Eeo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = work, environ, printed, printed // a file, which daemons that go on do not keep waiting
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	read := func() string {
		text, _ := os.ReadFile(printed.Name()) // it is there as long as the test is
		return string(text)
	}
	if e.until != "" {
		err = wait.PollUntilContextCancel(ctx, exampleAgain, true, func(context.Context) (bool, error) { return strings.Contains(read(), e.until), nil })
		if err != nil {
			err = fmt.Errorf("wait for %q: %w", e.until, err)
		}
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM))
	}
	code = exitCode(cmd.Wait())
	return read(), code, err
}
