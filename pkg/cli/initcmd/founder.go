package initcmd

import (
	"strconv"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/cli/kubeconfig"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// parseFounder reads NAME[=KUBECONFIG][,weight=N], and the kubeconfig. The weight is cut off from the
// end, so that a path may contain commas.
func parseFounder(text string) (federation.NewCell, error) {
	wrong := func(problem string) error {
		return exit.Flagf("founder", printers.Clip(text), "be NAME=KUBECONFIG or NAME=KUBECONFIG,weight=N: %s", problem).
			WithHint("--founder cell-1=c1.yaml,weight=100")
	}
	var cell federation.NewCell
	rest := text
	if i := strings.LastIndex(text, ",weight="); i >= 0 {
		weight, err := strconv.ParseInt(text[i+len(",weight="):], 10, 32)
		if err != nil {
			return cell, wrong("the weight is no whole number")
		}
		if err := federation.CheckWeight(int32(weight)); err != nil {
			return cell, err
		}
		cell.Weight, rest = int32(weight), text[:i]
	}
	name, path, found := strings.Cut(rest, "=")
	if err := placement.ValidateCellName(name); err != nil {
		return cell, exit.Usagef("--founder: %w", err).WithHint("--founder cell-1=c1.yaml")
	}
	cell.Name = name
	if !found {
		return cell, nil
	}
	if path == "" {
		return cell, wrong("the kubeconfig is missing")
	}
	var err error
	cell.Kubeconfig, err = kubeconfig.Read(path, "")
	return cell, err
}
