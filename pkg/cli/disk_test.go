//go:build linux

package cli_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestOnAFullDisk runs the program where no file takes a byte: by the shell's limit on what a process may write, which
// needs no rights, and to a device that is always full. What needs no file works, the rest says which could not be
// written, with a hint, and leaves no half of one.
func TestOnAFullDisk(t *testing.T) {
	b := newBed(t)
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kubeconfig, ca := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "ca.crt")
	for path, data := range map[string][]byte{kubeconfig: b.kubeconfig, ca: b.ca} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	daemon := []string{"--rcp-kubeconfig", kubeconfig}
	for _, test := range []struct {
		args []string
		full string // redirection of standard output
		code int
		said string
	}{
		{args: []string{"where", "payments/checkout"}, said: "payments/checkout"},
		{args: append([]string{"router", "start", "--client-ca-file", ca}, daemon...), code: 1, said: "/router cannot be used: "},
		{args: append([]string{"backup", "start"}, daemon...), code: 1, said: "/backup cannot be used: "},
		{args: append([]string{"backup", "run"}, daemon...), code: 1, said: "/backup cannot be used: "},
		{args: []string{"sandbox", "up", "--cells", "1"}, code: 1, said: "state cannot be used: "},
		{args: []string{"report", "-f", filepath.Join(home, "report.zip")}, code: 1, said: "error: write report: "},
		{args: []string{"completion", "install", "--dir", home}, code: 1, said: "error: install kubectl_complete-cell: "},
		{args: []string{"where", "payments/checkout"}, full: ">/dev/full", code: 1, said: "error: print table: "},
		{args: []string{"diff", "-o", "json"}, full: ">/dev/full", code: 2, said: "error: print "},
	} {
		t.Run(strings.Join(test.args[:2], " ")+test.full, func(t *testing.T) {
			script := `trap '' XFSZ; ulimit -f 0; exec "$0" "$@" ` + test.full
			cmd := exec.Command("sh", append([]string{"-c", script, cell}, test.args...)...)
			cmd.Env = append(os.Environ(), "HOME="+home, "KUBECTL_CELL_HOME="+filepath.Join(home, "state"), "KUBECONFIG="+kubeconfig)
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &said, &said
			code := exitCode(cmd.Run())
			if code != test.code || !strings.Contains(said.String(), test.said) {
				t.Errorf("exit code %d, want %d with %q; %s", code, test.code, test.said, &said)
			}
			if hint := strings.Contains(said.String(), "\n  hint: "); code != 0 && test.full == "" && !hint {
				t.Errorf("no hint: %s", &said)
			}
		})
	}
	err = filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if name := filepath.Base(path); err == nil && entry.Type().IsRegular() && name != "lock" {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
