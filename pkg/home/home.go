// Package home knows where kubectl cell finds its own things on a machine, by the environment alone: the directory of its
// state, that of its cache, and the program itself. It makes none of them.
package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

const (
	// Env names the variable that overrides where kubectl cell keeps its state and cache.
	Env = "KUBECTL_CELL_HOME"
	// ProgramEnv names the variable that holds the path of kubectl-cell, where that is not the running
	// program: in tests, and for a program that is built from these packages.
	ProgramEnv = "KUBECELL_BINARY"

	folder = "kubectl-cell"
)

// State is the directory of what kubectl cell keeps, by the rules of XDG.
func State(getenv func(string) string) (string, error) {
	if own := getenv(Env); own != "" {
		return filepath.Abs(own)
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, folder), nil
	}
	if user := getenv("HOME"); user != "" {
		return filepath.Join(user, ".local", "state", folder), nil
	}
	return "", exit.Errorf(exit.Failure, "no place for state: HOME is not set").
		WithHint("export %s=/path/to/a/directory", Env)
}

// Cache is the directory of programs that were built for the user, or "".
func Cache(getenv func(string) string) string {
	if own := getenv(Env); own != "" {
		return filepath.Join(own, "cache")
	}
	if cache := getenv("XDG_CACHE_HOME"); filepath.IsAbs(cache) {
		return filepath.Join(cache, folder)
	}
	if user := getenv("HOME"); user != "" {
		return filepath.Join(user, ".cache", folder)
	}
	return ""
}

// Program is the path of kubectl-cell, which daemons are started from.
func Program(getenv func(string) string) (string, error) {
	if path := getenv(ProgramEnv); path != "" {
		return filepath.Abs(path)
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own program: %w", err)
	}
	return path, nil
}

// Unusable is the error of a state directory that cannot be written to. flag is the one that chooses another directory,
// "" where there is none.
func Unusable(dir string, err error, flag string) error {
	failed := exit.Errorf(exit.Failure, "state directory %s cannot be used: %w", dir, err)
	switch full := errors.Is(err, syscall.ENOSPC); {
	case full && flag != "":
		return failed.WithHint("free some space (df -h %s), or choose another directory with %s", dir, flag)
	case full:
		return failed.WithHint("free some space (df -h %s), or choose a directory on another disk: export %s=/path", dir, Env)
	case flag != "":
		return failed.WithHint("choose a directory that you own with %s, or: export %s=$HOME/kubectl-cell", flag, Env)
	}
	return failed.WithHint("choose a directory that you own: export %s=$HOME/kubectl-cell", Env)
}
