package completion

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

const (
	// countingLimit is how long cells are asked for workloads, less than timeLimit: what has been found by then is offered.
	countingLimit = 400 * time.Millisecond
	// mostWorkloads is more than anybody reads.
	mostWorkloads = 500
)

// Workloads completes names of workloads, with their cells: of the namespace before a slash, or else of the one that was
// chosen.
func Workloads(env *command.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		found, _ := within(cmd.Context(), func(ctx context.Context) ([]cobra.Completion, error) {
			return listWorkloads(ctx, env, word)
		})
		return matching(found, args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func listWorkloads(ctx context.Context, env *command.Env, word string) ([]cobra.Completion, error) {
	namespace, err := env.Namespace()
	if err != nil {
		return nil, err
	}
	prefix := ""
	if chosen, _, ok := strings.Cut(word, "/"); ok {
		namespace, prefix = chosen, chosen+"/"
	}
	server, err := env.Connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, countingLimit)
	defer cancel()
	current, err := ring.Read(ctx, env, server)
	if err != nil {
		return nil, err
	}
	census, err := federation.NewCensus(ctx, server.Config, current)
	if err != nil {
		return nil, err
	}
	var out []cobra.Completion
	for unit, err := range census.Units(ctx, federation.CensusOptions{Namespace: namespace}) {
		name := prefix + unit.Name
		if err != nil || !strings.HasPrefix(name, word) {
			continue // a cell that does not answer has nothing to offer
		}
		out = append(out, cobra.CompletionWithDesc(name, unit.Cell))
		if len(out) == mostWorkloads {
			break
		}
	}
	return out, nil
}
