package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	defaultSample = 100
	// verifyLag is how long a daemon is given for what it has in hand.
	verifyLag = 3 * time.Second
	// shownFindings is how many findings the text names.
	shownFindings = 50
)

type verifyOptions struct {
	env    *command.Env
	sample int
	// sampleChosen says whether --sample is on the command line.
	sampleChosen func() bool
	full         bool
	output       printers.Output
	printer      *printers.Printer
}

func newVerify(env *command.Env) *cobra.Command {
	o := &verifyOptions{env: env}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare the objects of all cells with their envelopes",
		Long: `Compare the objects of all cells with their envelopes, and read some of the envelopes.

By metadata it finds what has no envelope (Missing), an old one (Stale), one too many (Orphaned),
and what cannot be made because an envelope of a failed-over cell is in the way (Waiting). Of
the envelopes that are as they should be, a sample is read, opened (Corrupt) and created in its
cell as a dry run (Unpromotable). Nothing is written. What a daemon at work puts right within
three seconds is not found.

Ask the router control plane: the credentials of all cells are read there.`,
		Example: "  # All by metadata, and 100 of the envelopes\n  " + env.Program + " backup verify\n\n" +
			"  # Every envelope\n  " + env.Program + " backup verify --full",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.IntVar(&o.sample, "sample", defaultSample, "How many envelopes to read, chosen by chance")
	flags.BoolVar(&o.full, "full", false, "Read all envelopes")
	o.output.AddFlags(flags)
	o.sampleChosen = func() bool { return flags.Changed("sample") }
	return cmd
}

// Complete checks the flags.
func (o *verifyOptions) Complete([]string) (err error) {
	if o.full && o.sampleChosen() {
		return exit.Exclusive("full", "sample").WithHint("%s backup verify --full", o.env.Program)
	}
	if o.sample < 0 {
		return exit.Flagf("sample", o.sample, "not be negative").WithHint("%s backup verify --full", o.env.Program)
	}
	if o.full {
		o.sample = -1
	}
	o.printer, err = o.output.Printer()
	return err
}

// Run compares.
func (o *verifyOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	ring, err := fed.Cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return federation.NotInitialised()
	}
	if err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	state, err := stateOf(ctx, fed, ring)
	if err != nil {
		return err
	}
	verified, err := mirror.Verify(ctx, state, mirror.VerifyOptions{Sample: o.sample, Lag: verifyLag})
	if err != nil {
		return exit.Errorf(exit.Failure, "the backup cannot be verified: %w", err).WithHint("%s status", o.env.Program)
	}
	if verified.Findings == nil {
		verified.Findings = []mirror.Finding{}
	}
	err = o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("BackupVerification", ring.Status.Epoch, verified),
		Names: func() []string {
			names := make([]string, len(verified.Findings))
			for i, f := range verified.Findings {
				names[i] = f.Object
			}
			return names
		},
		Text: func(w io.Writer, layout printers.Layout) error { return o.text(w, layout, verified) },
	})
	if err == nil && len(verified.Findings) > 0 {
		return exit.Silent(exit.Findings)
	}
	return err
}

// stateOf reads the ways to the cells.
func stateOf(ctx context.Context, fed *command.Federation, ring *v1alpha1.Ring) (*replication.State, error) {
	snapshot, err := routing.FromRing(ring)
	if err != nil {
		return nil, err
	}
	cells, err := federation.Cells(ctx, fed.Config)
	if err != nil {
		return nil, err
	}
	state := &replication.State{Snapshot: snapshot, Cells: map[string]replication.Access{}}
	for name, cell := range cells {
		if !snapshot.Unavailable[name] {
			state.Cells[name] = replication.Access{Config: cell.Config, Version: name, Err: cell.Err}
		}
	}
	if len(state.Cells) == 0 {
		return nil, errors.New("there is no cell to verify")
	}
	return state, nil
}

func (o *verifyOptions) text(w io.Writer, layout printers.Layout, v *mirror.Verified) error {
	if len(v.Findings) > 0 {
		table := layout.Table("PROBLEM", "OBJECT", "FROM", "IN", "MESSAGE")
		for _, f := range v.Findings[:min(len(v.Findings), shownFindings)] {
			table.Rows = append(table.Rows, []string{string(f.Problem), cmp.Or(f.Object, "-"), cmp.Or(f.Source, "-"), cmp.Or(f.Cell, "-"), cmp.Or(printers.Clip(f.Message), "-")})
		}
		if err := table.Write(w); err != nil {
			return err
		}
		if more := len(v.Findings) - shownFindings; more > 0 {
			fmt.Fprintf(w, "and %s more; -o json has them all\n", printers.Count(int64(more)))
		}
	}
	_, err := fmt.Fprintf(w, "%s objects, %s envelopes, %s read; %s findings\n", printers.Count(int64(v.Objects)),
		printers.Count(int64(v.Envelopes)), printers.Count(int64(v.Read)), strconv.Itoa(len(v.Findings)))
	return err
}
