package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func openRotating(t *testing.T, path string, most int64, changed func(*os.File)) *daemon.RotatingFile {
	t.Helper()
	log, err := daemon.OpenRotating(path, most, changed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func TestRotationKeepsThePreviousFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	files := 0
	log := openRotating(t, path, 10, func(*os.File) { files++ })
	for _, line := range []string{"one\n", "two\n", "three\n", "four\n", "a line that is longer than the bound\n", "six\n"} {
		if n, err := log.Write([]byte(line)); err != nil || n != len(line) {
			t.Fatalf("write %q: %d, %v", line, n, err)
		}
	}
	if got := content(t, path); got != "six\n" {
		t.Errorf("log is %q, want the last line alone", got)
	}
	if got := content(t, path+daemon.PreviousLog); got != "a line that is longer than the bound\n" {
		t.Errorf("previous log is %q, want the line before", got)
	}
	// one+two, three, four, the long one, six: "three" and "four" do not fit in one file of 10 bytes.
	if files != 5 {
		t.Errorf("told of %d files, want 5", files)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log: %v, %v; want mode 600", info.Mode(), err)
	}
}

// A restart goes on in the same file, and counts what is in it.
func TestRotationCountsWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("12345678\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := openRotating(t, path, 10, nil)
	if _, err := log.Write([]byte("new\n")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path+daemon.PreviousLog); got != "12345678\n" {
		t.Errorf("previous log is %q", got)
	}
}

// A full disk costs lines, not the daemon: each write says so, and the file is written on.
func TestRotationOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	log := openRotating(t, path, 10, nil)
	for range 3 {
		if _, err := log.Write([]byte("a long enough line\n")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write to a full disk: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := log.Reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("again\n")); err != nil || content(t, path) != "again\n" {
		t.Errorf("write after there is room: %v", err)
	}
}

// Where the old file cannot be put aside the log is written on.
func TestRotationThatIsNotPossible(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.MkdirAll(filepath.Join(path+daemon.PreviousLog, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	log := openRotating(t, path, 4, nil)
	for range 3 {
		if _, err := log.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, path); got != "line\nline\nline\n" {
		t.Errorf("log is %q, want all lines", got)
	}
}

// Another program has put the log aside and asks to go on in a new one.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := openRotating(t, path, 100, nil)
	write := func(line string) {
		t.Helper()
		if _, err := log.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n")
	if err := os.Rename(path, path+".by-others"); err != nil {
		t.Fatal(err)
	}
	write("still\n")
	if err := log.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("after\n")
	if before, after := content(t, path+".by-others"), content(t, path); before != "before\nstill\n" || after != "after\n" {
		t.Errorf("files are %q and %q", before, after)
	}
}

// Writers at the same time lose nothing but what two rotations throw away, and split no line.
func TestRotationIsSafeForManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log := openRotating(t, path, 1<<20, nil)
	var writers sync.WaitGroup
	for writer := range 8 {
		writers.Go(func() {
			for line := range 100 {
				if _, err := fmt.Fprintf(log, "writer %d line %d end\n", writer, line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	lines := strings.Split(strings.TrimSpace(content(t, path)), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "writer ") || !strings.HasSuffix(line, " end") {
			t.Fatalf("line %q is not whole", line)
		}
	}
	if len(lines) != 800 {
		t.Errorf("%d lines, want 800", len(lines))
	}
}
