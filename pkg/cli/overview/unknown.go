package overview

import (
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/suggest"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Unknown is the error for a name that no cell has. It lists those there are.
func Unknown(env *command.Env, name string, known []string) error {
	if len(known) == 0 {
		return exit.Errorf(exit.Failure, "there is no cell %q: the federation has no cells yet", printers.Clip(name)).
			WithHint("%s add NAME --kubeconfig FILE", env.Program)
	}
	err := exit.Errorf(exit.Failure, "there is no cell %q; the federation has %s", printers.Clip(name), strings.Join(known, ", "))
	if near := suggest.Closest(name, known); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("%s get cells", env.Program)
}
