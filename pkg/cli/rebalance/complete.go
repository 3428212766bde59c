package rebalance

import (
	"context"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
)

// completeRuns completes names of runs, with their phase.
func completeRuns(env *command.Env) cobra.CompletionFunc {
	return completion.Matching(func(ctx context.Context) ([]cobra.Completion, error) {
		fed, err := env.Connect()
		if err != nil {
			return nil, err
		}
		list, err := fed.Cell.Rebalances().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var out []cobra.Completion
		for i := range list.Items {
			out = append(out, cobra.CompletionWithDesc(list.Items[i].Name, string(phaseOf(&list.Items[i]))))
		}
		return out, nil
	})
}
