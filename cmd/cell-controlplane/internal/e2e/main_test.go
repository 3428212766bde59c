package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	binaryVariable = "KUBECELL_CONTROLPLANE"
	moduleRoot     = "../.."
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// run builds the binary unless there is one. Tests find it through the environment.
func run(m *testing.M) (int, error) {
	if os.Getenv(binaryVariable) != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "cp-bin-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "cell-controlplane")
	build := exec.Command(filepath.Join(moduleRoot, "build.sh"), binary)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building the binary under test: %w", err)
	}
	if err := os.Setenv(binaryVariable, binary); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// TestSourcesAreInputs looks at every source of the binary, so that go test runs these tests again when
// one has changed: it keeps results until a file changes that a test has looked at, and does not know
// what the binary is made of.
func TestSourcesAreInputs(t *testing.T) {
	err := filepath.WalkDir(moduleRoot, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
