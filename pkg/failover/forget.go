package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// The steps of giving up a cell that was failed over, in the order in which they are taken.
//
//	step     what is written
//	settle   files, for copies of its objects that were never brought back; the record of its failover, which names them; then,
//	         in the other cells, their deletion
//	remove   the deletion of the Cell and of its credentials
//	release  Ring: its name is off the unavailable ones, and its control plane is given up, epoch +1; then the record of a
//	         failback of it that has not ended: it has failed
//
// Every other cell has answered before anything is deleted. A call that has deleted something and cannot go on ends as
// [exit.Partial], and the same call goes on.
//
// The Cell goes before its name does: one that is there and not unavailable can be taken into the ring, with what its control
// plane has. A name without a Cell keeps nobody from anything but from being used again.
const (
	StepSettle  StepName = "settle"
	StepRemove  StepName = "remove"
	StepRelease StepName = "release"
)

// Forget gives up a cell that was failed over and will not come back. It keeps nothing between two calls of Run: what is left to
// do is in the cells and in the Ring, and what was saved is in the record of the cell's failover, if that is there.
//
// What its control plane holds alone is lost to the federation, and nobody freezes it should it be started again. No router has
// a way to it then, and it is taken for a cell again only when nothing is left in it.
type Forget struct {
	RCP      *rest.Config
	Identity string
	// LeaseDuration is how long others wait for one that is silent; 15 s where zero.
	LeaseDuration time.Duration
	Cell          string
	// Dir is where copies are saved that were never brought back. Host names this machine in the record.
	Dir, Host string
	// Force agrees to it. Without it a cell that was failed over is refused.
	Force bool
	// DryRun does all checks and looks for copies, and neither saves nor deletes any.
	DryRun bool
	// Step is told of each step once it is done; nil for nobody.
	Step func(StepName)
	// WrapCell changes the way to a cell; nil for not.
	WrapCell func(name string, config *rest.Config)
}

// Forgotten is what was found and done.
type Forgotten struct {
	// Epoch of the ring in which the cell is given up; 0 in a dry run.
	Epoch int64 `json:"epoch,omitempty"`
	// Failback is the name of one that has not ended, and is ended by this; of several, names with commas between.
	Failback string `json:"failback,omitempty"`
	// KeptObjects are the copies that were never brought back, and Kept the first of them, with those of earlier calls that
	// were cut off.
	KeptObjects int64                   `json:"keptObjects"`
	Kept        []v1alpha1.FailoverKept `json:"kept,omitempty"`
	// Dir has them all. Where an earlier call was told of another folder it is a list as in the record: host:folder,
	// host:folder.
	Dir string `json:"dir,omitempty"`
}

// Run gives the cell up, from wherever an earlier call has left it. Errors that a person has to do something about are
// *exit.Error. The result is nil where the cell was not failed over: then it is for [federation.RemoveCell].
func (f *Forget) Run(ctx context.Context) (*Forgotten, error) {
	if f.LeaseDuration == 0 {
		f.LeaseDuration = lease.DefaultDuration
	}
	c, err := connect(f.RCP)
	if err != nil {
		return nil, err
	}
	g := &forgetting{Forget: f, c: c}
	if needed, err := g.look(ctx); err != nil || !needed {
		return nil, err
	}
	if f.DryRun {
		return &g.done, g.settle(ctx)
	}
	switch holder, err := lease.Holder(ctx, c.kube, v1alpha1.FailoverLease, c.clock.Now); {
	case err != nil:
		return nil, err
	case holder != "" && holder != f.Identity:
		return nil, exit.Refusedf("%s holds the Lease %s, and may be at this cell", holder, v1alpha1.FailoverLease).
			WithHint("kubectl cell status   # and try again in %s, should nobody be there any more", f.LeaseDuration)
	}
	err = lease.Hold(ctx, lease.Config{Kube: c.kube, Name: v1alpha1.FailoverLease, Identity: f.Identity, Duration: f.LeaseDuration}, g.attended)
	if err != nil && g.changed && ctx.Err() == nil {
		err = exit.Errorf(exit.Partial, "cell %s is not given up as a whole yet: %w", g.Cell, err).
			WithHint("kubectl cell remove %s --force   # again, once that is seen to; it goes on where it stopped", g.Cell)
	}
	return &g.done, err
}

// forgetting is one such call.
type forgetting struct {
	*Forget
	c    *connection
	done Forgotten
	// changed says that this call has changed more than files and the record.
	changed bool
}

// look says whether there is anything to give up, and refuses where that cannot be.
func (g *forgetting) look(ctx context.Context) (needed bool, err error) {
	ring, err := g.c.readRing(ctx)
	if err != nil {
		return false, err
	}
	failback, err := unfinishedFailback(ctx, g.c.client, g.Cell)
	switch s := &ring.Status; {
	case err != nil:
		return false, err
	case !contains(s.Unavailable, g.Cell) && failback == nil:
		return false, nil
	case contains(cellsOf(s), g.Cell), wanted(ring, g.Cell):
		return false, nil // it is a member, or is to be one
	case !g.Force:
		return false, federation.FailedOver(g.Cell)
	}
	if failback != nil {
		g.done.Failback = failback.Name
	}
	return true, g.refuse(ctx, ring)
}

// refuse refuses while something is under way for which the name may count.
func (g *forgetting) refuse(ctx context.Context, ring *v1alpha1.Ring) error {
	run, err := Unfinished(ctx, g.c.client)
	switch s := &ring.Status; {
	case err != nil:
		return err
	case run != nil && !run.Spec.Drill:
		return notEnded(run)
	case s.Failover != "" || len(s.Promoting) > 0:
		return exit.Refusedf("failover %s has not ended", s.Failover).WithHint("kubectl cell status")
	case s.Phase != v1alpha1.RingStable:
		return exit.Refusedf("rebalance %s has not ended, and objects are on their way between cells", s.Rebalance).
			WithHint("kubectl cell rebalance --attach")
	}
	return nil
}

// attended works while the Lease is held.
func (g *forgetting) attended(ctx context.Context) error {
	needed, err := g.look(ctx)
	switch {
	case err != nil:
		return err
	case !needed:
		return exit.Refusedf("cell %s is not one any more that was failed over", g.Cell).WithHint("kubectl cell status %s", g.Cell)
	}
	return g.work(ctx)
}

// work takes one step after the other.
func (g *forgetting) work(ctx context.Context) error {
	if err := g.settle(ctx); err != nil {
		return err
	}
	g.took(StepSettle)
	removed, err := federation.RemoveCell(ctx, g.c.rcp, g.Cell, federation.RemoveOptions{FailedOver: true})
	g.changed = g.changed || removed.Removed
	if err != nil {
		return err
	}
	g.took(StepRemove)
	if err := g.release(ctx); err != nil {
		return err
	}
	if err := g.endFailbacks(ctx); err != nil {
		return err
	}
	g.took(StepRelease)
	return nil
}

func (g *forgetting) took(step StepName) {
	if g.Step != nil {
		g.Step(step)
	}
}

// settle saves the copies of the cell's objects in all others, and deletes them once all are saved and named: without the
// name the backup takes them for its own. A cell that does not answer is found out before, since what it has may be all that
// is left.
func (g *forgetting) settle(ctx context.Context) error {
	var found v1alpha1.FailoverStatus
	save := &sweep{files: quarantine{g.Dir, g.Cell}, note: func(kept v1alpha1.FailoverKept) { noteKept(&found, kept) }, dryRun: g.DryRun, spare: true}
	err := g.everywhere(ctx, save)
	if err == nil {
		err = g.keep(ctx, &found)
	}
	if err != nil || g.DryRun {
		return err
	}
	drop := &sweep{files: save.files, note: func(v1alpha1.FailoverKept) {}}
	err = g.everywhere(ctx, drop)
	g.changed = g.changed || drop.deleted
	return err
}

// keep says what is kept: what was found now, and what the record of the cell's failover has of earlier calls, which have
// deleted some of it. The record has it all from then on.
func (g *forgetting) keep(ctx context.Context, found *v1alpha1.FailoverStatus) error {
	place := g.Host + ":" + g.Dir
	if found.KeptObjects > 0 {
		found.Quarantine = place
	}
	say := func(s *v1alpha1.FailoverStatus) {
		g.done.Kept, g.done.KeptObjects, g.done.Dir = s.Kept, s.KeptObjects, s.Quarantine
		if s.Quarantine == place {
			g.done.Dir = g.Dir
		}
	}
	say(found)
	if g.DryRun {
		return nil
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		run, err := g.c.lastFailover(ctx, g.Cell)
		if err != nil || run == nil || found.KeptObjects == 0 && run.Status.Quarantine == "" {
			return err
		}
		if found.KeptObjects > 0 {
			carry(&run.Status, found)
			// By a manager of its own: when the driver has written last is when the run has ended.
			if _, err := g.c.client.Failovers().UpdateStatus(ctx, run, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager + "-forget"}); err != nil {
				return err
			}
		}
		say(&run.Status)
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what is kept of cell %s: %w", g.Cell, err)
	}
	return nil
}

// carry adds what was found to what the record of a failover says. What that has without a folder is what the failover
// itself has left, as it was then; of what is still there it knows why.
func carry(record, found *v1alpha1.FailoverStatus) {
	known := record.Kept
	if record.Quarantine == "" {
		record.Kept, record.KeptObjects = nil, 0
	}
	before, full := record.KeptObjects, record.KeptObjects > int64(len(record.Kept))
	for _, kept := range found.Kept {
		for _, k := range known {
			if k.Object == kept.Object && k.Cell == kept.Cell {
				kept = k
			}
		}
		noteKept(record, kept)
	}
	if full {
		record.KeptObjects = before // those that are found may be among those that it does not name
	}
	record.KeptObjects = max(record.KeptObjects, found.KeptObjects) // there may be more than are named
	noteFolder(record, found.Quarantine)
}

// everywhere sweeps all cells that may have copies of the cell's objects.
func (g *forgetting) everywhere(ctx context.Context, s *sweep) error {
	ring, err := g.c.readRing(ctx)
	if err != nil {
		return err
	}
	access, err := federation.Cells(ctx, g.c.rcp)
	if err != nil {
		return err
	}
	for _, cell := range slices.Sorted(maps.Keys(access)) {
		if cell == g.Cell || contains(ring.Status.Unavailable, cell) {
			continue // what that one has is for its own failback, or is lost as well
		}
		config, err := configOf(access, cell)
		if err == nil {
			err = s.copiesOf(ctx, g.Cell, cell, within(wrapped(fence.AsMover(config), cell, g.WrapCell), listTimeout))
		}
		if known := exit.Find(err); known != nil {
			return exit.Errorf(known.Code, "%w", err).
				WithHint("make room, or choose a folder that can be written; then: kubectl cell remove %s --force --dir FOLDER", g.Cell)
		}
		if err != nil {
			return exit.Refusedf("cell %s may have copies of the objects of cell %s that were never brought back: %w", cell, g.Cell, err).
				WithHint("kubectl cell status %s", cell)
		}
	}
	return nil
}

// endFailbacks ends those of the cell that were cut off, or were ordered while the Lease was held. Nobody orders one once
// the name is given back; whoever was about to finds out when he has the Lease.
func (g *forgetting) endFailbacks(ctx context.Context) error {
	var ended []string
	for {
		run, err := unfinishedFailback(ctx, g.c.client, g.Cell)
		if err != nil {
			return err
		}
		if run == nil {
			break
		}
		if err := g.c.endFailback(ctx, run.Name); err != nil {
			return err
		}
		ended = append(ended, run.Name)
	}
	if len(ended) > 0 {
		g.done.Failback = strings.Join(ended, ", ")
	}
	return nil
}

// endFailback ends the failback of a cell that was given up: nobody drives it while the Lease is held, and nobody can go on
// with it.
func (c *connection) endFailback(ctx context.Context, name string) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		run, err := c.client.Failovers().Get(ctx, name, metav1.GetOptions{})
		if err != nil || run.Status.Phase.Final() {
			return err
		}
		now := metav1.Now()
		run.Status.Phase, run.Status.CompletionTime = v1alpha1.FailoverFailed, &now
		apimeta.SetStatusCondition(&run.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDriven, Status: metav1.ConditionFalse, Reason: "Removed", Message: "the cell was given up",
		})
		_, err = c.client.Failovers().UpdateStatus(ctx, run, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("end failback %s: %w", name, err)
	}
	return nil
}

// release gives the name back, and its control plane up, in one write. A failback may have given the name back before it was cut
// off.
func (g *forgetting) release(ctx context.Context) error {
	for {
		ring, err := g.c.readRing(ctx)
		if err != nil {
			return err
		}
		was := ring.DeepCopy()
		federation.GiveUp(&ring.Status, g.Cell)
		if contains(ring.Status.Unavailable, g.Cell) {
			ring.Status.Unavailable = minus(ring.Status.Unavailable, g.Cell)
			ring.Status.Epoch++
		}
		if equality.Semantic.DeepEqual(was.Status, ring.Status) {
			return nil
		}
		if err := g.refuse(ctx, was); err != nil {
			return err
		}
		_, err = g.c.client.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if err == nil {
			g.done.Epoch, g.changed = ring.Status.Epoch, true
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("write ring: %w", err)
		}
	}
}
