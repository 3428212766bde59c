//go:build linux

package newcomer

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// documented are the folders below a home in which docs/install.md, kubectl and go say that files may stay. Those of go are
// counters of its own use, which it writes where it builds.
var documented = []string{".local/state/kubectl-cell", ".cache/kubectl-cell", ".kube/cache", ".config/go/telemetry"}

// wantNothingLeft looks for processes of the run, which are known by the home in their environment, and for files.
func wantNothingLeft(t *testing.T, home string) {
	t.Helper()
	for pid, command := range processesOf(t, home) {
		t.Errorf("process %s still runs: %s", pid, command)
	}
	err := filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(home, path)
		if err != nil {
			return err
		}
		for _, folder := range documented {
			if strings.HasPrefix(relative, folder+"/") {
				return nil
			}
		}
		t.Errorf("file %s is left", relative)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// processesOf are the pids and command lines of the processes that were started with a home.
func processesOf(t *testing.T, home string) map[string]string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended, or is somebody else's
		}
		if !bytes.Contains(append([]byte{0}, environ...), []byte("\x00HOME="+home+"\x00")) {
			continue
		}
		dir := filepath.Dir(path)
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && len(command) > 0 { // else it has ended
			found[filepath.Base(dir)] = string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
		}
	}
	return found
}
