// Package events is the command `events`: the Events of all cells and of the router control plane, by time.
//
// A router merges the Events of all cells as well, but cannot say from which cell each one comes; here each
// cell is asked by itself, and one that does not answer costs the others nothing.
package events

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env           *command.Env
	allNamespaces bool
	of            string
	types         []string
	since         time.Duration
	watch         bool
	output        printers.Output

	printer   *printers.Printer
	namespace string
	// kind and name are the object that --for names, its kind as people write it, which known makes sense of.
	kind  string
	name  string
	known kinds.Table
}

// NewCommand returns `events`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env, known: kinds.Builtin()}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the events of all cells, by time",
		Long: "Show the Events of all cells and of the router control plane, the oldest first, with the cell that each\n" +
			"one comes from. The cells are asked at once; one that does not answer is named, and the exit code is 6.\n\n" +
			"With -w the command goes on with what comes until Ctrl-C: a line for each, with -o json a JSON object.",
		Example: "  # What was wrong in the last hour, everywhere\n  " + env.Program + " events -A --types Warning --since 1h\n\n" +
			"  # What happens to one deployment\n  " + env.Program + " events -n payments --for deployment/checkout -w",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Of all namespaces")
	flags.StringVar(&o.of, "for", "", "Only those of one object: KIND/NAME")
	flags.StringSliceVar(&o.types, "types", nil, "Only those of these types: Normal, Warning")
	flags.DurationVar(&o.since, "since", 0, "Only those that were seen in this time, such as 1h; 0 for all")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Go on with what comes")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the flags.
func (o *options) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	if o.watch && !o.printer.Text() && o.output.Format != "json" {
		return exit.Usagef("-w prints lines, or with -o json a JSON object for each event").WithHint("%s events -w -o json%s", o.env.Program, o.env.Within())
	}
	for _, kind := range o.types {
		if kind != corev1.EventTypeNormal && kind != corev1.EventTypeWarning {
			return exit.Flagf("types", printers.Clip(kind), "be Normal or Warning").WithHint("--types Normal,Warning")
		}
	}
	if o.since < 0 {
		return exit.Flagf("since", o.since, "not be negative").WithHint("--since 1h")
	}
	if o.of != "" {
		kind, name, ok := strings.Cut(o.of, "/")
		if !ok || kind == "" || name == "" {
			return exit.Flagf("for", printers.Clip(o.of), "be KIND/NAME").WithHint("--for deployment/checkout")
		}
		o.kind, o.name = kind, name
	}
	if o.allNamespaces {
		o.namespace = metav1.NamespaceAll
		return nil
	}
	o.namespace, err = o.env.Namespace()
	return err
}

// Run prints what there is, then what comes.
func (o *options) Run(ctx context.Context) error {
	sources, missing, err := o.sources(ctx)
	if err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx, sources, missing)
	}
	found, failed := o.collect(ctx, sources)
	missing = append(missing, failed...)
	for _, m := range missing {
		o.env.Warn("%s", m)
	}
	err = o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("EventList", 0, found, missing...),
		Names:    func() []string { return names(found) },
		Text: func(w io.Writer, layout printers.Layout) error {
			if len(found) == 0 {
				fmt.Fprintln(o.env.ErrOut, "no events found")
				return nil
			}
			return o.table(found, layout).Write(w)
		},
	})
	if err == nil && len(missing) > 0 {
		return exit.Silent(exit.Partial)
	}
	return err
}

func names(found []Event) []string {
	out := make([]string, 0, len(found))
	for _, e := range found {
		out = append(out, e.Cell+"/"+e.Namespace+"/"+e.Name)
	}
	return out
}

// wanted says whether the flags ask for an event.
func (o *options) wanted(e Event) bool {
	kind, name, _ := strings.Cut(e.Object, "/")
	switch {
	case len(o.types) > 0 && !slices.Contains(o.types, e.Type):
		return false
	case o.since > 0 && o.env.Clock.Since(e.LastSeen) > o.since:
		return false
	case o.name != "" && (name != o.name || !o.known.Same(schema.GroupKind{Group: e.group, Kind: kind}, o.kind)):
		return false
	}
	return true
}
