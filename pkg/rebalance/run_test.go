package rebalance_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestEveryCaseMovesWhatWasPlanned has cells join, leave and change weight, and wants exactly the planned
// units to move.
func TestEveryCaseMovesWhatWasPlanned(t *testing.T) {
	for name, c := range map[string]struct{ before, after []v1alpha1.RingMember }{
		"join":    {[]v1alpha1.RingMember{member(1, 100), member(2, 100)}, []v1alpha1.RingMember{member(1, 100), member(2, 100), member(3, 100)}},
		"leave":   {[]v1alpha1.RingMember{member(1, 100), member(2, 100), member(3, 100)}, []v1alpha1.RingMember{member(1, 100), member(2, 100)}},
		"swap":    {[]v1alpha1.RingMember{member(1, 100), member(2, 100)}, []v1alpha1.RingMember{member(1, 100), member(3, 100)}},
		"weight":  {[]v1alpha1.RingMember{member(1, 100), member(2, 100)}, []v1alpha1.RingMember{member(1, 100), member(2, 300)}},
		"several": {[]v1alpha1.RingMember{member(1, 100), member(2, 100)}, []v1alpha1.RingMember{member(2, 300), member(3, 100)}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, c.before...)
			before := b.fill(40)
			all := b.versions()
			b.want(c.after...)
			epoch := b.ring().Status.Epoch
			started := b.accepted(v1alpha1.RebalanceSpec{})
			d := b.driver("it")
			b.start(d, started.Run.Name)
			run := b.finish(d, v1alpha1.RebalanceSucceeded)

			moved := map[string]bool{}
			for name, is := range b.settled(before) {
				if is {
					moved[b.namespace+"/"+name] = true
				}
			}
			planned := map[string]bool{}
			for _, unit := range started.Units {
				planned[unit.Key] = true
			}
			if diff := cmp.Diff(planned, moved); diff != "" || len(moved) == 0 {
				t.Errorf("moved (-planned +moved):\n%s", diff)
			}
			b.onlyWritten(all, planned)
			told := map[string]bool{}
			for _, e := range d.events.of(rebalance.EventMoved) {
				told[e.Unit.Key] = true
			}
			if diff := cmp.Diff(planned, told); diff != "" {
				t.Errorf("events (-planned +told):\n%s", diff)
			}
			p := rebalance.ProgressOf(&run.Status)
			if p.Total != int64(len(planned)) || p.Moved != p.Total || p.InFlight != 0 || p.Failed != 0 {
				t.Errorf("progress is %+v; want %d moved", p, len(planned))
			}
			if run.Status.FromEpoch != epoch || run.Status.ToEpoch != epoch+4 || run.Name != fmt.Sprintf("r-%d", epoch+1) {
				t.Errorf("run %s went from epoch %d to %d; want %d to %d", run.Name, run.Status.FromEpoch, run.Status.ToEpoch, epoch, epoch+4)
			}
			if run.Status.WriteBlock == nil || run.Status.Driver != "it" {
				t.Errorf("status lacks something: %+v", run.Status)
			}
			want := []v1alpha1.RebalancePhase{v1alpha1.RebalancePreparing, v1alpha1.RebalanceMoving, v1alpha1.RebalanceSettling, v1alpha1.RebalanceSucceeded}
			if diff := cmp.Diff(want, phases(d)); diff != "" {
				t.Errorf("phases (-want +told):\n%s", diff)
			}
		})
	}
}

// TestADriverUsesAllEndpoints runs while the first endpoint of each cell is down.
func TestADriverUsesAllEndpoints(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	before := b.fill(few)
	sandboxtest.FirstEndpointDown(t, b.rcp)
	b.want(member(1, 100), member(2, 100), member(3, 100))
	started := b.accepted(v1alpha1.RebalanceSpec{})
	d := b.driver("it")
	b.start(d, started.Run.Name)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	moved := 0
	for _, is := range b.settled(before) {
		if is {
			moved++
		}
	}
	if moved == 0 || moved != len(started.Units) {
		t.Errorf("%d units moved; want the %d that were planned", moved, len(started.Units))
	}
}

func phases(d *driving) []v1alpha1.RebalancePhase {
	var out []v1alpha1.RebalancePhase
	for _, e := range d.events.of(rebalance.EventPhase) {
		out = append(out, e.Phase)
	}
	return out
}

// replacing is a run that has 3 take the place of 1, and of which few objects stay where they are.
func replacing(t *testing.T) (*bed, map[string]placed) {
	b := newBed(t, member(1, 100), member(2, 100))
	before := b.fill(few)
	b.want(member(2, 100), member(3, 100))
	return b, before
}

// undisturbed is what a run leaves that nobody disturbs.
func undisturbed(t *testing.T) (left map[string]traces) {
	t.Run("undisturbed", func(t *testing.T) {
		b, before := replacing(t)
		d := b.driver("it")
		b.start(d, b.accepted(v1alpha1.RebalanceSpec{}).Run.Name)
		b.finish(d, v1alpha1.RebalanceSucceeded)
		left = b.left(before)
	})
	return left
}

// TestAKilledDriverIsFollowedByAnother kills the process of a driver at each named step, of the run and of its units, and
// wants another one to bring the run to the same end as one that nobody disturbs.
func TestAKilledDriverIsFollowedByAnother(t *testing.T) {
	undisturbed := undisturbed(t)
	var steps []string
	for _, step := range rebalance.StepNames() {
		steps = append(steps, string(step))
	}
	for _, step := range migration.StepNames() {
		if familySteps[step] == nil {
			steps = append(steps, string(step))
		}
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			b, before := replacing(t)
			name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			b.killAt(name, step)
			b.forgetLease()
			second := b.driver("second")
			b.start(second, name)
			run := b.finish(second, v1alpha1.RebalanceSucceeded)
			if moved := b.settled(before); !slices.Contains(slices.Collect(maps.Values(moved)), true) {
				t.Error("nothing moved")
			}
			if diff := cmp.Diff(undisturbed, b.left(before)); diff != "" {
				t.Errorf("what is left differs (-undisturbed +this):\n%s", diff)
			}
			if p := rebalance.ProgressOf(&run.Status); p.Moved != p.Total {
				t.Errorf("progress is %+v", p)
			}
		})
	}
}
