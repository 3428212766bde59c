package sandboxtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// Binaries are the paths of cell-controlplane and kubectl-cell, for tests that run commands.
func Binaries() (controlPlane, cell string, err error) {
	if controlPlane, err = controlPlaneBinary(); err != nil {
		return "", "", err
	}
	cell, err = cellBinary()
	return controlPlane, cell, err
}

func controlPlaneBinary() (string, error) {
	return binary(sandbox.ControlPlaneEnv, sandbox.ControlPlaneBinary)
}

func cellBinary() (string, error) { return binary(home.ProgramEnv, "kubectl-cell") }

// binary is the path that the environment names, else the program in bin/ of this module.
func binary(env, name string) (string, error) {
	path := os.Getenv(env)
	if path == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "bin", name)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run make build", err)
	}
	return path, nil
}

// moduleRoot walks up from the working directory, which is the package's own in a test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find module: no go.mod above the working directory")
		}
		dir = parent
	}
}
