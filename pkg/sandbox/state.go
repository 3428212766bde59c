package sandbox

import (
	"path/filepath"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// HomeEnv names the variable that overrides where kubectl cell keeps its state and cache.
const HomeEnv = "KUBECTL_CELL_HOME"

const appDir = "kubectl-cell"

// StateDir is where kubectl cell keeps its state, by the rules of XDG.
func StateDir(getenv func(string) string) (string, error) {
	if home := getenv(HomeEnv); home != "" {
		return filepath.Abs(home)
	}
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, appDir), nil
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", appDir), nil
	}
	return "", exit.Errorf(exit.Failure, "no place for state: HOME is not set").
		WithHint("export %s=/path/to/a/directory", HomeEnv)
}

// cacheDir is where programs that were built for the user are kept, or "".
func cacheDir(getenv func(string) string) string {
	if home := getenv(HomeEnv); home != "" {
		return filepath.Join(home, "cache")
	}
	if cache := getenv("XDG_CACHE_HOME"); filepath.IsAbs(cache) {
		return filepath.Join(cache, appDir)
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", appDir)
	}
	return ""
}
