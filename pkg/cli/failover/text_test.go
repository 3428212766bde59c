package failover

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// TestWhatARunWaitsForIsToldOnce, with the program as this person calls it.
func TestWhatARunWaitsForIsToldOnce(t *testing.T) {
	var told []string
	n := &narrator{
		env: &command.Env{Program: "kubectl kubecell"}, now: time.Now, seen: map[string]steps.State{}, said: map[string]string{},
		tell: func(e steps.Event) { told = append(told, e.Detail) },
	}
	run := &v1alpha1.Failover{Status: v1alpha1.FailoverStatus{Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionRoutersAcknowledged, Status: metav1.ConditionFalse,
		Message: "waiting for r-1; forget what is dead: kubectl cell router forget NAME",
	}}}}
	n.changed(run)
	n.changed(run)
	if want := "waiting for r-1; forget what is dead: kubectl kubecell router forget NAME"; len(told) != 1 || told[0] != want {
		t.Errorf("told %q; want %q once", told, want)
	}
}

// TestWhatBecomesOfTheCellIsSaid: one that cannot be frozen is not said to be.
func TestWhatBecomesOfTheCellIsSaid(t *testing.T) {
	run := &v1alpha1.Failover{Status: v1alpha1.FailoverStatus{Phase: v1alpha1.FailoverSucceeded}}
	const last = "the cell must not be used before it was compared with the others: "
	for unfrozen, want := range map[string]string{"": "it is frozen as soon as it answers", "it cannot be frozen: why": "it cannot be frozen: why"} {
		var out strings.Builder
		if ended(&out, run, unfrozen); !strings.HasSuffix(out.String(), last+want+"\n") {
			t.Errorf("unfrozen %q: said\n%s\nwant %q in the end", unfrozen, out.String(), last+want)
		}
	}
}

// TestADryRunNamesAll that would be lost, lack a write or have a damaged copy, and not the first thousand of each alone.
func TestADryRunNamesAll(t *testing.T) {
	found := &failover.Finding{Corrupt: []string{"secrets/kubecell-system/envelope-x"}}
	for i := range 1200 {
		found.Lost = append(found.Lost, fmt.Sprintf("configmaps/ns/lost-%d", i))
		found.Stale = append(found.Stale, fmt.Sprintf("configmaps/ns/stale-%d", i))
	}
	report := &found.FailoverReport
	report.Lost, report.Stale, report.Corrupt = 1200, 1200, 1
	report.LostKeys, report.StaleKeys, report.CorruptKeys = found.Lost[:1000], found.Stale[:1000], found.Corrupt
	for _, format := range []string{"name", "json"} {
		t.Run("-o "+format, func(t *testing.T) {
			var out strings.Builder
			o := &options{env: &command.Env{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &out}, Program: "kubectl cell"}, dryRun: true}
			o.output.Format = format
			o.tui.AddFlag(pflag.NewFlagSet("failover", pflag.ContinueOnError), "")
			if err := o.Complete([]string{"cell-1"}); err != nil {
				t.Fatal(err)
			}
			if err := o.plan(&failover.Started{Finding: found}); err != nil {
				t.Fatal(err)
			}
			got := strings.Fields(out.String())
			if format == "json" {
				var document struct{ Data v1alpha1.Failover }
				if err := json.Unmarshal([]byte(out.String()), &document); err != nil {
					t.Fatal(err)
				}
				r := document.Data.Status.Report
				got = slices.Concat(r.LostKeys, r.StaleKeys, r.CorruptKeys)
			}
			if want := slices.Concat(found.Lost, found.Stale, found.Corrupt); !slices.Equal(got, want) {
				t.Errorf("%d names, want %d", len(got), len(want))
			}
		})
	}
	if len(report.LostKeys) != 1000 || len(report.StaleKeys) != 1000 {
		t.Errorf("the record would have %d and %d names; want a thousand of each", len(report.LostKeys), len(report.StaleKeys))
	}
}
