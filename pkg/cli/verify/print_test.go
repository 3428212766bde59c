package verify

import (
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// TestAdviceIsAsTyped: what is for a person to do begins with the program as this person calls it.
func TestAdviceIsAsTyped(t *testing.T) {
	for _, format := range []string{"", "json"} {
		t.Run("-o "+format, func(t *testing.T) {
			var out strings.Builder
			o := &options{env: &command.Env{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &out}, Program: "kubectl kubecell"}}
			o.output.Format = format
			if err := o.Complete(nil); err != nil {
				t.Fatal(err)
			}
			err := o.print(&verify.Result{
				Findings: []verify.Finding{{Class: verify.Unprotected, Fix: "kubectl cell backup status   # later"}},
				Counts:   map[verify.Class]int64{verify.Unprotected: 1},
				Cells:    []verify.CheckedCell{{Cell: "cell-1", State: verify.FailedOver, Message: "compare it: kubectl cell failback cell-1 --dry-run"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"kubectl kubecell backup status   # later", "compare it: kubectl kubecell failback cell-1 --dry-run"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, out.String())
				}
			}
		})
	}
}

// TestHowItEnds: that nothing was found is no good end where not everything was looked at.
func TestHowItEnds(t *testing.T) {
	finding := verify.Finding{Class: verify.Stale}
	for _, c := range []struct {
		name   string
		result verify.Result
		want   exit.Code
		said   string
	}{
		{"all is well", verify.Result{Warnings: []string{"the ring has one cell"}}, exit.OK, "nothing found\n"},
		{"found", verify.Result{Findings: []verify.Finding{finding}, Uncompared: true}, exit.Findings, "1 findings\n"},
		{"envelopes not compared", verify.Result{Uncompared: true}, exit.Partial, "nothing found, and not all envelopes were compared\n"},
		{"a cell away", verify.Result{Cells: []verify.CheckedCell{{Cell: "cell-1", State: verify.Unreachable}}}, exit.Partial, "nothing found\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			o := &options{env: &command.Env{
				IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &out}, Program: "kubectl cell", Flags: genericclioptions.NewConfigFlags(false),
			}}
			if err := o.Complete(nil); err != nil {
				t.Fatal(err)
			}
			if err := o.print(&c.result); err != nil {
				t.Fatal(err)
			}
			if got := exit.CodeOf(o.verdict(&c.result)); got != c.want || !strings.Contains(out.String(), c.said) {
				t.Errorf("exit code %d, want %d; %q is not in:\n%s", got, c.want, c.said, out.String())
			}
		})
	}
}
