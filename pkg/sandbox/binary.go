package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

const (
	// ControlPlaneBinary is the name of the program that is one control plane.
	ControlPlaneBinary = "cell-controlplane"
	// ControlPlaneEnv names the variable that holds the path of that program.
	ControlPlaneEnv = "KUBECELL_CONTROLPLANE"
)

// findControlPlane returns the path of cell-controlplane: what the environment names, else the one
// next to executable, else the one in the user's cache. The error names where it was looked for.
func findControlPlane(getenv func(string) string, executable string) (string, error) {
	hint := fmt.Sprintf("make build && export %s=$PWD/bin/%s", ControlPlaneEnv, ControlPlaneBinary)
	if path := getenv(ControlPlaneEnv); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", path, err)
		}
		if !isProgram(abs) {
			return "", exit.Errorf(exit.Failure, "%s=%s is not a program that can be run", ControlPlaneEnv, path).WithHint("%s", hint)
		}
		return abs, nil
	}
	var places []string
	if real, err := filepath.EvalSymlinks(executable); err == nil {
		places = append(places, filepath.Join(filepath.Dir(real), ControlPlaneBinary))
	}
	if cache := home.Cache(getenv); cache != "" {
		places = append(places, filepath.Join(cache, ControlPlaneBinary))
	}
	for _, place := range places {
		if isProgram(place) {
			return place, nil
		}
	}
	return "", exit.Errorf(exit.Failure, "program %s not found: looked for %v", ControlPlaneBinary, places).WithHint("%s", hint)
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
