package exit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// TestReport: an error and its hint, as whoever types another name than usual has to type it. What came from elsewhere is
// left as it is, whatever it looks like.
func TestReport(t *testing.T) {
	const theirs = "kubectl cell/100%d"
	hinted := exit.Refusedf("no room in %s", theirs).WithHint("kubectl cell drain %s   # or: kubectl cell status", theirs)
	for _, test := range []struct {
		name, program, want string
		err                 error
	}{
		{"as usual", exit.Plugin, "error: no room in " + theirs + "\n  hint: kubectl cell drain " + theirs + "   # or: kubectl cell status\n", hinted},
		{
			"another name", "kubectl kube-cell",
			"error: no room in " + theirs + "\n  hint: kubectl kube-cell drain " + theirs + "   # or: kubectl kube-cell status\n", hinted,
		},
		{"a name like a format", "./100%s", "error: try\n  hint: ./100%s status\n", exit.Usagef("try").WithHint("kubectl cell status")},
		{"wrapped", "kc", "error: before: try\n  hint: kc status\n", fmt.Errorf("before: %w", exit.Usagef("try").WithHint("kubectl cell status"))},
		{
			"with flags", "kubectl cell --context 'p%s d'",
			"error: try\n  hint: kubectl --context 'p%s d' get ring kubectl get x ; kubectl cell --context 'p%s d' diff ; kubectl config get-contexts\n",
			exit.Usagef("try").WithHint("kubectl get ring %s ; kubectl cell diff ; kubectl config get-contexts", "kubectl get x"),
		},
		{"handed on", "kc", "error: again\n  hint: kc status\n", exit.Usagef("again").WithHintOf(exit.Usagef("try").WithHint("kubectl cell status"))},
		{"nothing to hand on", "kc", "error: again\n  hint: kc top\n", exit.Usagef("again").WithHint("kubectl cell top").WithHintOf(exit.Usagef("try"))},
		{"without a hint", "kc", "error: kubectl cell is fine\n", fmt.Errorf("%s", "kubectl cell is fine\n")},
		{"silent", "kc", "", exit.Silent(exit.Findings)},
		{"none", "kc", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			exit.Report(&out, test.program, test.err)
			if out.String() != test.want {
				t.Errorf("reported:\n%s\nwant:\n%s", out.String(), test.want)
			}
		})
	}
}

// TestTyped: of a stored text, commands alone are changed.
func TestTyped(t *testing.T) {
	got := exit.Typed("kubectl kubecell", "waits for kubectl-cell-7; forget what is dead: kubectl cell router forget NAME")
	if want := "waits for kubectl-cell-7; forget what is dead: kubectl kubecell router forget NAME"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = exit.Typed("kubectl cell --context prod", "kubectl delete --raw '/cells/cell-1/x'   # or kubectl cell status")
	if want := "kubectl --context prod delete --raw '/cells/cell-1/x'   # or kubectl cell --context prod status"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
