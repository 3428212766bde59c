// Package where is the command `where`: in which cell a workload lives, computed from the ring, and
// on request compared with what the cells really hold.
//
// One request, for the ring, answers any number of names, but for one more for each first part of a name that is a
// namespace, or a custom kind. Cells are asked only with --live, and
// during a rebalance for keys that move, since the label in the old cell decides there. A rebalance
// that goes on while the cells are read may be seen half way.
package where

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// maxReports is how many bad lines of a file are reported one by one.
const maxReports = 20

type options struct {
	env      *command.Env
	filename string
	live     bool
	why      bool
	offline  bool
	output   printers.Output

	printer  *printers.Printer
	style    printers.Style
	names    []string
	parser   parser
	resolver *resolver
}

// NewCommand returns `where`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	p := env.Program
	cmd := &cobra.Command{
		Use:   "where NAME… | -f FILE",
		Short: "Say in which cell a workload lives",
		Long: "Say in which cell a workload lives.\n\n" +
			"A NAME is NAME, KIND/NAME, NAMESPACE/NAME or KIND/NAMESPACE/NAME. The first of two parts is taken for\n" +
			"a kind where Kubernetes has one of that name, then for a namespace, then for a kind of custom resources:\n" +
			"where a namespace has the name of such a kind, write widgets.example.com/NAME. Without a kind the\n" +
			"default key, namespace and name, is used.\n\n" +
			"--live looks into all cells and ends with exit code 3 where reality differs from the map. A name\n" +
			"with a kind that is found nowhere differs; a name without kind need not exist.\n\n" +
			"-f reads one name a line; blank lines and comments (#) are skipped. Lines that are no names are\n" +
			"reported with their numbers, the others are answered, and the exit code is 6.\n\n" +
			"-o name prints the cells alone, one a line.",
		Example: "  # A workload of the current namespace, and one elsewhere\n  " + p + " where checkout search/index\n\n" +
			"  # Why there?\n  " + p + " where deploy/checkout -n payments --why\n\n" +
			"  # Compare all deployments with what the cells hold\n" +
			"  kubectl get deploy -n payments -o name | " + p + " where -n payments -f - --live\n\n" +
			"  # With everything down, from the ring that was read last\n  " + p + " where payments/checkout --offline",
		RunE:              command.RunE(o),
		ValidArgsFunction: completion.Workloads(env),
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.filename, "filename", "f", "", "File with one name a line; - is standard input")
	flags.BoolVar(&o.live, "live", false, "Look into the cells; exit code 3 where reality differs from the map")
	flags.BoolVar(&o.why, "why", false, "Explain each answer: key, hash, points of the ring, case")
	flags.BoolVar(&o.offline, "offline", false, "Ask no server; use the ring that was read last")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the arguments as far as that is possible without a server.
func (o *options) Complete(args []string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	o.names = args
	switch {
	case len(args) == 0 && o.filename == "":
		return exit.Usagef("name a workload, or a file of names with -f").WithHint("%s where NAME", o.env.Program)
	case o.live && o.offline:
		return exit.Exclusive("live", "offline").WithHint("%s where --help", o.env.Program)
	}
	o.style = printers.NewStyle(o.env.Interactive && o.printer.Text(), o.env.Getenv)
	namespace, err := o.env.Namespace()
	if err != nil {
		return exit.Errorf(exit.Failure, "%w", err).WithHint("kubectl config get-contexts ; choose one with --context")
	}
	explicit := o.env.ChosenNamespace() != ""
	o.resolver = &resolver{known: kinds.Builtin()}
	o.parser = parser{namespace: namespace, explicit: explicit, find: o.resolver.assume}
	for _, name := range args {
		if _, err := o.parser.parse(name); err != nil {
			return o.badName(err)
		}
	}
	o.parser.find = o.resolver.find
	return nil
}

func (o *options) badName(err error) error {
	return exit.Usagef("%w", err).WithHint("%s where --help", o.env.Program)
}

// Run answers all names, or none where an argument is wrong.
func (o *options) Run(ctx context.Context) error {
	current, federation, err := o.ring(ctx)
	if err != nil {
		return err
	}
	snapshot, err := routing.FromRing(current)
	if err != nil {
		return exit.Errorf(exit.Failure, "ring %s makes no sense: %w", current.Name, err).
			WithHint("kubectl get ring %s -o yaml", current.Name)
	}
	if snapshot.Table.Current().Empty() {
		return exit.Errorf(exit.Failure, "the ring has no cells yet: nothing is placed").WithHint("%s init --help", o.env.Program)
	}
	answers, bad, err := o.answers(current, snapshot)
	if err != nil {
		return err
	}
	var warnings []string
	if federation != nil {
		if warnings, err = look(ctx, o.env, federation, snapshot, answers, o.live); err != nil {
			return err
		}
	}
	return o.report(snapshot, answers, bad, warnings)
}

// ring is the one of the server, with the connection to it, or the saved one without.
func (o *options) ring(ctx context.Context) (*v1alpha1.Ring, *command.Federation, error) {
	if o.offline {
		saved, err := ring.ReadSaved(o.env)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintln(o.env.ErrOut, ring.Describe(saved, o.env.Clock.Now()))
		return &saved.Ring, nil, nil
	}
	federation, err := o.env.Connect()
	if err != nil {
		return nil, nil, err
	}
	found, err := ring.Read(ctx, o.env, federation)
	if err != nil {
		return nil, nil, err
	}
	o.resolver.mapper = o.env.Flags.ToRESTMapper
	o.resolver.noNamespace = func(word string) bool {
		_, err := federation.Kube.CoreV1().Namespaces().Get(ctx, word, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}
	return found, federation, nil
}

// answers places the arguments, then the lines of the file. Bad lines are returned.
func (o *options) answers(current *v1alpha1.Ring, snapshot *routing.Snapshot) ([]Answer, []badLine, error) {
	o.resolver.addRules(current)
	var out []Answer
	use := func(name string) error {
		t, err := o.parser.parse(name)
		if err == nil {
			out = append(out, locate(snapshot, t))
		}
		return err
	}
	for _, name := range o.names {
		if err := use(name); err != nil {
			return nil, nil, o.badName(err)
		}
	}
	if o.filename == "" {
		return out, nil, nil
	}
	in, err := o.open()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	bad, err := readNames(in, use)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", o.filename, err)
	}
	return out, bad, nil
}

func (o *options) open() (io.ReadCloser, error) {
	if o.filename == "-" {
		return io.NopCloser(o.env.In), nil
	}
	file, err := os.Open(o.filename)
	if err != nil {
		return nil, exit.Usagef("read names: %w", err).WithHint("%s where -f FILE, or -f - for standard input", o.env.Program)
	}
	return file, nil
}

// report prints what was found and what was not, and chooses the exit code: findings weigh more
// than gaps.
func (o *options) report(snapshot *routing.Snapshot, answers []Answer, bad []badLine, warnings []string) error {
	for _, warning := range warnings {
		o.env.Warn("%s", warning)
	}
	cellsMissing := len(warnings) > 0
	warnings = append(warnings, o.warnOf(bad)...)
	if len(bad) > 0 && len(answers) == 0 {
		return exit.Usagef("none of the %d lines of %s is a name", len(bad), o.filename).WithHint("%s where --help", o.env.Program)
	}
	names := make([]string, len(answers))
	drift := false
	for i := range answers {
		names[i] = answers[i].cellName()
		drift = drift || answers[i].Live != nil && answers[i].Live.Drift
	}
	if answers == nil {
		answers = []Answer{} // an empty list in JSON, not null
	}
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("PlacementList", snapshot.Epoch, answers, warnings...),
		Names:    func() []string { return names },
		Text:     o.print(answers),
	})
	switch {
	case err != nil:
		return err
	case drift:
		return exit.Silent(exit.Findings)
	case len(bad) > 0:
		return exit.Errorf(exit.Partial, "%d lines of %s are no names", len(bad), o.filename).WithHint("%s where --help", o.env.Program)
	case cellsMissing:
		return exit.Errorf(exit.Partial, "not every cell could be asked").WithHint("%s status", o.env.Program)
	}
	return nil
}

// warnOf writes the first bad lines to standard error and returns all of them as warnings.
func (o *options) warnOf(bad []badLine) []string {
	out := make([]string, len(bad))
	for i, line := range bad {
		out[i] = fmt.Sprintf("%s:%d: %v", o.filename, line.number, line.err)
		if i < maxReports {
			o.env.Warn("%s", out[i])
		}
	}
	if len(bad) > maxReports {
		o.env.Warn("%d more lines of %s are no names", len(bad)-maxReports, o.filename)
	}
	return out
}
