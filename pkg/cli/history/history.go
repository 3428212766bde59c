// Package history is the command `history`: what was done to the ring, from the records that stay.
package history

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// Entry is one thing that was done.
type Entry struct {
	Name string `json:"name"`
	// Kind is Rebalance, Failover or Failback.
	Kind string `json:"kind"`
	// Cell that a failover or failback was about.
	Cell  string `json:"cell,omitempty"`
	Phase string `json:"phase"`
	// By is who ordered it, Reason why, and Changes what of the ring.
	By      string   `json:"by,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Changes []string `json:"changes,omitempty"`
	// Driver is who carried it out, or did last.
	Driver    string `json:"driver,omitempty"`
	FromEpoch int64  `json:"fromEpoch"`
	// ToEpoch is 0 while it is not known.
	ToEpoch int64 `json:"toEpoch,omitempty"`
	// Moved are the units that a rebalance moved, or the objects that a failover promoted. Failed are those that it could
	// not, or that were left for a person to look at.
	Moved     int64      `json:"moved"`
	Failed    int64      `json:"failed"`
	Created   time.Time  `json:"created"`
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
}

type options struct {
	env     *command.Env
	output  printers.Output
	printer *printers.Printer
}

// NewCommand returns `history`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the rebalances, failovers and failbacks that there were",
		Long: "List the rebalances, failovers and failbacks that there were, the oldest first: who ordered them, how they\n" +
			"ended, how much was moved or promoted, and the epochs of the ring before and after. -o wide has why as well,\n" +
			"what changed in the ring, and who carried it out.",
		Example: "  " + env.Program + " history\n\n  # Why?\n  " + env.Program + " history -o wide",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *options) Complete([]string) (err error) {
	o.printer, err = o.output.Printer()
	return err
}

// Run lists.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	list, err := fed.Cell.Rebalances().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return federation.NotInitialised()
	}
	if err != nil {
		return fmt.Errorf("list rebalances: %w", err)
	}
	entries := []Entry{}
	for i := range list.Items {
		entries = append(entries, newEntry(&list.Items[i]))
	}
	failovers, err := fed.Cell.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list failovers: %w", err)
	}
	for i := range failovers.Items {
		entries = append(entries, ofFailover(&failovers.Items[i]))
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Created.Compare(b.Created) })
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("History", 0, entries),
		Names: func() []string {
			names := make([]string, len(entries))
			for i, e := range entries {
				names[i] = e.Name
			}
			return names
		},
		Text: func(w io.Writer, layout printers.Layout) error { return o.text(w, layout, entries) },
	})
}

func newEntry(run *v1alpha1.Rebalance) Entry {
	progress := rebalance.ProgressOf(&run.Status)
	e := Entry{
		Name: run.Name, Kind: "Rebalance", Phase: string(cmp.Or(run.Status.Phase, v1alpha1.RebalancePending)), Driver: run.Status.Driver,
		FromEpoch: run.Status.FromEpoch, ToEpoch: run.Status.ToEpoch,
		Moved: progress.Moved, Failed: progress.Failed, Created: run.CreationTimestamp.Time,
		Started: when(run.Status.StartTime), Completed: when(run.Status.CompletionTime),
	}
	e.ordered(run.Spec.Order)
	return e
}

// ordered takes over who ordered it; records that were made by hand do not say.
func (e *Entry) ordered(order *v1alpha1.Order) {
	if order != nil {
		e.By, e.Reason, e.Changes = order.By, order.Reason, order.Changes
	}
}

func ofFailover(run *v1alpha1.Failover) Entry {
	e := Entry{
		Name: run.Name, Kind: string(cmp.Or(run.Spec.Direction, v1alpha1.DirectionFailover)), Cell: run.Spec.Cell,
		Phase: string(cmp.Or(run.Status.Phase, v1alpha1.FailoverPending)), Driver: run.Status.Driver,
		// A failback writes only the epoch that it was ordered in.
		FromEpoch: cmp.Or(run.Status.FromEpoch, run.Spec.ConfirmEpoch), ToEpoch: run.Status.ToEpoch, Failed: run.Status.KeptObjects,
		Created: run.CreationTimestamp.Time, Started: when(run.Status.StartTime), Completed: when(run.Status.CompletionTime),
	}
	e.ordered(run.Spec.Order)
	for _, cell := range run.Status.Cells {
		e.Moved += cell.Promoted
	}
	return e
}

func when(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}

func (o *options) text(w io.Writer, layout printers.Layout, entries []Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "nothing was moved yet: there was no rebalance and no failover")
		return err
	}
	table := layout.Table("NAME", "KIND", "PHASE", "EPOCH", "MOVED", "FAILED", "TOOK", "AGE", "BY")
	if layout.Wide {
		table.Header = append(table.Header, "DRIVER", "CHANGES", "REASON")
	}
	for _, e := range entries {
		epoch, took := fmt.Sprintf("%d →", e.FromEpoch), "-"
		if e.ToEpoch > 0 {
			epoch += fmt.Sprintf(" %d", e.ToEpoch)
		}
		if e.Started != nil && e.Completed != nil {
			took = printers.Took(*e.Started, *e.Completed)
		}
		row := []string{
			e.Name, kindOf(e), e.Phase, epoch, printers.Count(e.Moved), printers.Count(e.Failed), took,
			printers.Age(o.env.Clock.Since(e.Created)), cmp.Or(e.By, "-"),
		}
		if layout.Wide {
			row = append(row, cmp.Or(e.Driver, "-"), cmp.Or(strings.Join(e.Changes, ", "), "-"), cmp.Or(e.Reason, "-"))
		}
		table.Rows = append(table.Rows, row)
	}
	return table.Write(w)
}

// kindOf names the cell as well, where it was about one.
func kindOf(e Entry) string {
	if e.Cell == "" {
		return e.Kind
	}
	return e.Kind + " " + e.Cell
}
