package store

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// shortTemp makes the temporary directory of this test one whose paths a socket can have.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func longDir(t *testing.T, under string) layout.Dir {
	t.Helper()
	return openDir(t, filepath.Join(under, strings.Repeat("long-", 30)))
}

func openDir(t *testing.T, path string) layout.Dir {
	t.Helper()
	dir, err := layout.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSocketLiesInItsDirectory(t *testing.T) {
	dir := openDir(t, shortTemp(t))
	path, _, err := openSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(path) != dir.Etcd() {
		t.Errorf("got %s, want it in %s", path, dir.Etcd())
	}
}

// A leftover socket of a crash is removed, whether the directory's path is short or long.
func TestSocketAfterACrash(t *testing.T) {
	temp := shortTemp(t)
	for name, dir := range map[string]layout.Dir{"short": openDir(t, temp), "long": longDir(t, temp)} {
		t.Run(name, func(t *testing.T) {
			path, _, err := openSocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			leftover, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			leftover.(*net.UnixListener).SetUnlinkOnClose(false)
			leftover.Close()

			again, remove, err := openSocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			if again != path {
				t.Errorf("second time: got %s, want %s", again, path)
			}
			listener, err := net.Listen("unix", again)
			if err != nil {
				t.Fatalf("listening: %v", err)
			}
			listener.Close()
			remove()
		})
	}
}

// The short directory's name can be guessed, so somebody else may have been there first.
func TestForeignDirectoryIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"readable by others": func(path string) error { return os.Chmod(path, 0o755) },
		"a link":             func(path string) error { return os.Symlink(os.TempDir(), path) },
		"a file":             func(path string) error { return os.WriteFile(path, nil, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := longDir(t, shortTemp(t))
			path, remove, err := openSocket(dir)
			if err != nil {
				t.Fatal(err)
			}
			if name != "readable by others" {
				remove()
			}
			if err := prepare(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			if got, _, err := openSocket(dir); err == nil {
				t.Errorf("got %s, want an error", got)
			}
		})
	}
}

func TestNoShortPath(t *testing.T) {
	dir := longDir(t, shortTemp(t))
	t.Setenv("TMPDIR", string(dir))
	if got, _, err := openSocket(dir); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %s, %v", got, err)
	}
}
