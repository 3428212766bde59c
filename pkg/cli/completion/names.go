package completion

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// timeLimit is how long a server may take: of the 800 ms that a person may wait after the TAB key, what kubectl, its
// completion script and this program leave, which take some 150 ms to start (docs/performance.md) and as much again on a
// machine that is busy.
const timeLimit = 500 * time.Millisecond

// Register gives every command below cmd the completions that follow from its usage line and its
// flags: names of cells where the usage line says CELL, one alone unless it says CELL…, and the values of -o, -n and
// --context.
func Register(cmd *cobra.Command, env *command.Env) {
	if cmd.ValidArgsFunction == nil && strings.Contains(cmd.Use, "CELL") {
		cmd.ValidArgsFunction = Cells(env)
		if !strings.Contains(cmd.Use, "CELL…") {
			cmd.ValidArgsFunction = first(cmd.ValidArgsFunction)
		}
	}
	if flag := cmd.LocalFlags().Lookup("output"); flag != nil {
		register(cmd, "output", cobra.FixedCompletions(printers.Formats(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	}
	if cmd.PersistentFlags().Lookup("namespace") != nil {
		register(cmd, "namespace", namespaces(env))
		register(cmd, "context", contexts(env))
	}
	for _, child := range cmd.Commands() {
		Register(child, env)
	}
}

// register keeps a completion that the command made for itself.
func register(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if _, exists := cmd.GetFlagCompletionFunc(flag); exists {
		return
	}
	// The flag exists, so the only error there can be cannot happen.
	_ = cmd.RegisterFlagCompletionFunc(flag, complete)
}

// Cells completes names of cells, with their state: those of the server or, where it does not
// answer in time, those of the last ring that was read.
func Cells(env *command.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		found, ok := within(cmd.Context(), func(ctx context.Context) ([]cobra.Completion, error) {
			return listCells(ctx, env)
		})
		if !ok {
			found = savedCells(env)
		}
		return matching(found, args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func listCells(ctx context.Context, env *command.Env) ([]cobra.Completion, error) {
	federation, err := env.Connect()
	if err != nil {
		return nil, err
	}
	list, err := federation.Cell.Cells().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []cobra.Completion
	for _, cell := range list.Items {
		out = append(out, cobra.CompletionWithDesc(cell.Name, state(&cell)))
	}
	return out, nil
}

// state is one word about a cell.
func state(cell *v1alpha1.Cell) string {
	conditions := cell.Status.Conditions
	switch {
	case cell.Spec.Maintenance:
		return "Maintenance"
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady):
		return "Ready"
	case meta.IsStatusConditionFalse(conditions, v1alpha1.ConditionReachable):
		return "Unreachable"
	case meta.IsStatusConditionFalse(conditions, v1alpha1.ConditionReady):
		return "NotReady"
	}
	return "Unknown"
}

func savedCells(env *command.Env) []cobra.Completion {
	saved, err := ring.ReadSaved(env)
	if err != nil {
		return nil
	}
	var out []cobra.Completion
	for _, member := range saved.Ring.Spec.Members {
		out = append(out, cobra.CompletionWithDesc(member.Cell, "as of "+printers.Age(env.Clock.Since(saved.SavedAt))+" ago"))
	}
	return out
}

func namespaces(env *command.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		found, _ := within(cmd.Context(), func(ctx context.Context) ([]cobra.Completion, error) {
			federation, err := env.Connect()
			if err != nil {
				return nil, err
			}
			list, err := federation.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			var out []cobra.Completion
			for _, namespace := range list.Items {
				out = append(out, namespace.Name)
			}
			return out, nil
		})
		return matching(found, nil, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func contexts(env *command.Env) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		config, err := env.Flags.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for name := range config.Contexts {
			out = append(out, name)
		}
		return matching(out, nil, word), cobra.ShellCompDirectiveNoFileComp
	}
}

// within runs find for as long as a completion may take; false means that it failed or took longer.
// A find that takes longer, such as a credential plugin that waits for a person, is left to end
// with the process.
func within(ctx context.Context, find func(context.Context) ([]cobra.Completion, error)) ([]cobra.Completion, bool) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	found := make(chan []cobra.Completion, 1)
	go func() {
		defer close(found)
		if names, err := find(ctx); err == nil {
			found <- names
		}
	}()
	select {
	case names, ok := <-found:
		return names, ok
	case <-ctx.Done():
		return nil, false
	}
}

// matching are the sorted completions that continue word and are no argument already.
func matching(found []cobra.Completion, args []string, word string) []cobra.Completion {
	var out []cobra.Completion
	for _, completion := range found {
		name, _, _ := strings.Cut(completion, "\t")
		if strings.HasPrefix(name, word) && !slices.Contains(args, name) {
			out = append(out, completion)
		}
	}
	slices.Sort(out)
	return out
}

// Matching completes one argument from what find returns with a description, as long as that takes no longer
// than a person waits.
func Matching(find func(ctx context.Context) ([]cobra.Completion, error)) cobra.CompletionFunc {
	return first(func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		found, _ := within(cmd.Context(), find)
		return matching(found, args, word), cobra.ShellCompDirectiveNoFileComp
	})
}

// first completes the first argument, and offers nothing for any other.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}
