//go:build linux

package newcomer

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	clone  = flag.Bool("clone", false, "begin with a fresh clone, and build there")
	record = flag.Bool("record", false, "write docs/recording.svg and docs/first-five-minutes.md")
)

// want is how a command of README ends.
type want struct {
	// command is how it begins.
	command string
	code    int
	// prints are expressions for what is on the screen at its end.
	prints []string
}

// The first ones are for -clone alone.
var (
	wantedOfClone = []want{
		{command: "git clone "},
		{command: "cd kubectl-cell"},
		{command: "make demo", prints: []string{"every object is in exactly the cell"}},
		{command: "make build"},
	}
	wanted = []want{
		{command: "export PATH="},
		{command: "kubectl cell sandbox up", prints: []string{"sandbox cell-sandbox is up: 3 cells", "undo: kubectl cell sandbox down"}},
		{command: "kubectl create namespace", prints: []string{"namespace/payments created"}},
		{command: "kubectl -n payments create deployment", prints: []string{"deployment.apps/checkout created"}},
		{command: "printf ", prints: []string{"configmap/item-40 created"}},
		{command: "kubectl cell where", prints: []string{`deployments/payments/checkout +cell-\d +cell-\d +stable +ok`, `key payments/checkout`, `→ next other cell: cell-\d`}},
		{command: "kubectl cell get cells", prints: []string{`cell-1 +Ready +100`, `cell-3 +Ready +100`}},
		{command: "kubectl cell sandbox cell add", prints: []string{"cell cell-4 is up and in the wanted ring"}},
		{command: "kubectl cell diff", code: 1, prints: []string{`\+cell-4 +41 workloads`, `TOTAL moves \d+ of 41`}},
		{command: "kubectl cell rebalance", prints: []string{`rebalance r-2 Succeeded: \d+ units moved .* epoch 1 → 5`, "undo, at any time: kubectl cell drain cell-4"}},
		{command: "kubectl cell sandbox chaos kill", prints: []string{"cell cell-2 of sandbox cell-sandbox: does not run"}},
		{command: "kubectl cell failover", code: 4, prints: []string{`1 of 1 routers agree`, `NO COPY 0`, `--confirm=cell-2@epoch5`}},
		{command: "kubectl cell failover", prints: []string{`cell cell-2 is failed over in .* objects are served again`, "next: kubectl cell failback cell-2"}},
		{command: "kubectl cell sandbox chaos restart", prints: []string{"cell cell-2 of sandbox cell-sandbox: https://"}},
		{command: "kubectl cell failback", prints: []string{"cell cell-2 is back in the wanted ring; nothing differed"}},
		{command: "kubectl cell rebalance", prints: []string{`rebalance r-10 Succeeded: \d+ units moved`}},
		{command: "kubectl cell simulate", prints: []string{`1,000,000 workloads · 8 cells`, `add 1: moves 1[01]\.\d%`}},
		{command: "kubectl cell sandbox down", prints: []string{"sandbox cell-sandbox is down, its data is deleted"}},
	}
)

// TestREADME plays it from the first command to the last.
func TestREADME(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("", "newcomer-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	environ, dir, expected := environment(t, home), root, wanted
	if *clone {
		dir = t.TempDir()
		environ = append(environ, goEnvironment(t, root)...)
		expected = append(wantedOfClone, wanted...)
	} else if _, err := os.Stat(filepath.Join(root, "bin", "kubectl-cell")); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	t.Cleanup(func() { endSandbox(t, environ, filepath.Join(root, "bin", "kubectl-cell")) })

	s := newShell(t, dir, screenWidth, 28, environ)
	s.terminal.Patience = 2 * time.Minute
	if *clone {
		s.terminal.Patience = 30 * time.Minute
	}
	r := newRecorder(s.terminal, root)
	play(t, s, commands(t, filepath.Join(root, "README.md"), *clone), expected, r)
	s.terminal.Press("exit\r")
	s.terminal.Ended()
	wantNothingLeft(t, home)
	if *clone {
		wantUnchanged(t, filepath.Join(dir, "kubectl-cell"))
	}
	if *record && !t.Failed() {
		r.write(t, filepath.Join(root, "docs"))
	}
}

// play runs commands, each of which has to be what is expected next.
func play(t *testing.T, s *shell, lines []string, expected []want, r *recorder) {
	t.Helper()
	for i, line := range lines {
		if i == len(expected) || !strings.HasPrefix(line, expected[i].command) {
			t.Fatalf("README's command %d is %q, of which this test does not know what it prints", i+1, line)
		}
		start := time.Now()
		screen, code := s.run(line)
		t.Logf("%5.1fs  %s", time.Since(start).Seconds(), line)
		r.add(line, screen)
		if code != expected[i].code {
			t.Fatalf("exit code %d, want %d:\n%s", code, expected[i].code, screen)
		}
		for _, expression := range expected[i].prints {
			if !regexp.MustCompile(expression).MatchString(screen) {
				t.Fatalf("%q is not on the screen:\n%s", expression, screen)
			}
		}
	}
	if len(lines) < len(expected) {
		t.Fatalf("README ends before %q", expected[len(lines)].command)
	}
}

// environment is all that a newcomer has: a home, a folder for temporary files in it, and few programs.
func environment(t *testing.T, home string) []string {
	t.Helper()
	temporary := filepath.Join(home, "tmp")
	if err := os.Mkdir(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"HOME=" + home, "TMPDIR=" + temporary, "USER=you", "LANG=C.UTF-8", "PATH=" + programs(t)}
}

// goEnvironment has git find README's address in the clone of this test, and keeps what was downloaded and compiled
// before: a newcomer's first build takes the same way, and longer.
func goEnvironment(t *testing.T, root string) []string {
	t.Helper()
	names := []string{"GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOFLAGS", "GOTOOLCHAIN"}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://" + root + ".insteadOf",
		"GIT_CONFIG_VALUE_0=https://github.com/kubecell/kubectl-cell",
	}
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		environ = append(environ, names[i]+"="+value)
	}
	return environ
}

// endSandbox ends what a run that failed has left.
func endSandbox(t *testing.T, environ []string, cell string) {
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), cell, "sandbox", "down", "--all")
	cmd.Env = environ
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("end the sandbox: %v: %s", err, out)
	}
}

// wantUnchanged wants nothing in a clone that git does not know or ignore.
func wantUnchanged(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", dir, "status", "--porcelain").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("git status of the clone: %v\n%s", err, out)
	}
}
