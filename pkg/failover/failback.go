package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// The steps of a failback, in the order in which they are taken.
//
//	step     what is written                                      what is waited for
//	compare  files, for what differs; then, in the cell, the       every object of the cell is judged
//	         deletion of the envelopes that it has for others,
//	         and of every object that a rebalance would move
//	admit    Ring: the cell is available, epoch +1                every router acknowledges
//	thaw     the freeze is taken off                              the deletions have ended
//	join     the cell is in the wanted ring again                 -
//
// Objects go as tombstones do: without finalizers and leaving their dependents, so that nothing is torn down. What is made in
// the cell between thaw and join goes the same way.
//
// A failover that is ordered meanwhile must not wait for a cell to come back: the failback gives the Lease up, and ends. The
// same call goes on with it.
const (
	StepCompare StepName = "compare"
	StepAdmit   StepName = "admit"
	StepThaw    StepName = "thaw"
	StepJoin    StepName = "join"
)

// Failback brings a cell that was failed over back into the wanted ring. It keeps nothing between two calls of Run: what
// is left to do is in the cell and in the Ring.
type Failback struct {
	RCP      *rest.Config
	Identity string
	// LeaseDuration is how long others wait for one that is silent; 15 s where zero.
	LeaseDuration time.Duration
	Cell          string
	// Dir is where what differs is saved. Host names this machine in the record.
	Dir, Host string
	// Order is what the record says of who ordered it; nil for nothing.
	Order *v1alpha1.Order
	// DryRun judges all objects, and neither saves nor deletes any.
	DryRun bool
	// Tell is told the run's status at each change, one at a time; nil for nobody.
	Tell func(*v1alpha1.Failover)
	// Step is told of each step once it is done; nil for nobody.
	Step func(StepName)
	// WrapCell changes the way to a cell; nil for not.
	WrapCell func(name string, config *rest.Config)
	Logger   *slog.Logger
}

// Run brings the cell back, from wherever an earlier run has left it. Errors that a person has to do something about are
// *exit.Error. The result is nil where there is nothing to do.
func (f *Failback) Run(ctx context.Context) (*v1alpha1.Failover, error) {
	if f.LeaseDuration == 0 {
		f.LeaseDuration = lease.DefaultDuration
	}
	c, err := connect(f.RCP)
	if err != nil {
		return nil, err
	}
	record, err := f.order(ctx, c)
	if err != nil || record == nil {
		return nil, err
	}
	r := &returning{Failback: f, c: c, record: record, progress: newProgress(c, record, f.Tell)}
	if f.DryRun {
		return r.preview(ctx)
	}
	c.waitsFor(ctx, f.Identity, record.Name, f.Tell)
	err = lease.Hold(ctx, lease.Config{Kube: c.kube, Name: v1alpha1.FailoverLease, Identity: f.Identity, Duration: f.LeaseDuration}, r.attended)
	if err != nil {
		return nil, err
	}
	return c.client.Failovers().Get(ctx, record.Name, metav1.GetOptions{})
}

// Pending says whether there is anything to bring back. It checks what Run checks before it begins, and changes nothing.
func (f *Failback) Pending(ctx context.Context) (bool, error) {
	c, err := connect(f.RCP)
	if err != nil {
		return false, err
	}
	asking := *f
	asking.DryRun = true
	record, err := asking.order(ctx, c)
	return record != nil, err
}

// order checks whether the cell may come back, and returns the record of the run: a new one, or the one that was cut
// off.
func (f *Failback) order(ctx context.Context, c *connection) (*v1alpha1.Failover, error) {
	ring, err := c.readRing(ctx)
	if err != nil {
		return nil, err
	}
	run, err := Unfinished(ctx, c.client)
	if err != nil {
		return nil, err
	}
	before, err := unfinishedFailback(ctx, c.client, f.Cell)
	if err != nil {
		return nil, err
	}
	s := &ring.Status
	switch {
	case run != nil && !run.Spec.Drill:
		return nil, notEnded(run)
	case contains(s.Unavailable, f.Cell) && (contains(cellsOf(s), f.Cell) || contains(s.Promoting, f.Cell)):
		// The record of its failover was deleted. What it has counts, or is about to.
		return nil, exit.Refusedf("the failover of cell %s has not ended", f.Cell).WithHint("kubectl cell failover %s --dry-run", f.Cell)
	case s.Phase != v1alpha1.RingStable:
		return nil, exit.Refusedf("rebalance %s has not ended, and objects are on their way between cells", s.Rebalance).
			WithHint("kubectl cell rebalance --attach")
	case before != nil:
		return before, nil
	case contains(s.Unavailable, f.Cell): // it may be wanted all the same: whoever writes the wanted ring did not know
	case contains(cellsOf(s), f.Cell), wanted(ring, f.Cell):
		return nil, nil
	default:
		return nil, exit.Refusedf("cell %s was not failed over", f.Cell).WithHint("kubectl cell get cells")
	}
	record := &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fb-%d", s.Epoch+1)},
		Spec:       v1alpha1.FailoverSpec{Cell: f.Cell, Direction: v1alpha1.DirectionFailback, ConfirmEpoch: s.Epoch, Order: f.Order},
	}
	access, err := federation.Cells(ctx, c.rcp)
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, access, f.Cell); err != nil {
		return nil, exit.Refusedf("cell %s does not answer: %w", f.Cell, err).
			WithHint("kubectl cell status %s   # one that is lost for good: kubectl cell remove %s --force", f.Cell, f.Cell)
	}
	if f.DryRun {
		return record, nil
	}
	return c.create(ctx, record)
}

func wanted(ring *v1alpha1.Ring, cell string) bool {
	for _, m := range ring.Spec.Members {
		if m.Cell == cell {
			return true
		}
	}
	return false
}

// returning is a failback under way.
type returning struct {
	*Failback
	c        *connection
	record   *v1alpha1.Failover
	progress *progress
}

// attended works while the Lease is held.
func (r *returning) attended(ctx context.Context) error {
	if err := r.stands(ctx); err != nil {
		return err
	}
	return r.progress.attended(ctx, r.Identity, r.Logger, r.work)
}

// stands refuses to go on where the cell was given up while the Lease was waited for: there is nothing to bring back, and a
// record that has ended is not to begin again.
func (r *returning) stands(ctx context.Context) error {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return err
	}
	record, err := r.c.client.Failovers().Get(ctx, r.record.Name, metav1.GetOptions{})
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read failover %s: %w", r.record.Name, err)
	case federation.GivenUp(&ring.Status, r.Cell):
		if err := r.c.endFailback(ctx, r.record.Name); err != nil {
			return err
		}
	case err != nil, record.Status.Phase != v1alpha1.FailoverFailed:
		return nil
	}
	return exit.Refusedf("cell %s was given up", r.Cell).WithHint("kubectl cell get cells")
}

func (r *returning) work(ctx context.Context) error {
	joined := false
	err := r.yield(ctx)
	if err == nil {
		err = makingWay(ctx, r.yield, func(ctx context.Context) (err error) {
			joined, err = r.prepare(ctx)
			return err
		})
	}
	switch {
	case errors.Is(err, errYield):
		return exit.Errorf(exit.Partial, "a failover was ordered, for which the failback of cell %s makes way", r.Cell).
			WithHint("kubectl cell failback %s   # goes on with it, once the failover has ended", r.Cell)
	case err != nil:
		return err
	case joined: // a rebalance may have brought objects since
		r.took(StepThaw, "the cell takes writes again")
		return r.end(ctx, "in the wanted ring already")
	}
	return r.join(ctx)
}

// yield is errYield where a failover was ordered that has not ended.
func (r *returning) yield(ctx context.Context) error {
	switch ordered, err := Unfinished(ctx, r.c.client); {
	case err != nil:
		return passing(err)
	case ordered == nil, ordered.Spec.Drill:
		return nil
	}
	return errYield
}

// prepare takes the steps before the cell joins. It has joined where somebody else has seen to that, such as an earlier run.
func (r *returning) prepare(ctx context.Context) (joined bool, err error) {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return false, err
	}
	if contains(ring.Status.Unavailable, r.Cell) {
		if err := r.clean(ctx, ring); err != nil {
			return false, err
		}
		// Whoever goes on after the next step knows by the record alone where the files are.
		if err := r.progress.publish(ctx); err != nil {
			return false, err
		}
		if err := r.admit(ctx); err != nil {
			return false, err
		}
	} else {
		joined = r.joined(ring)
	}
	if err := r.acknowledged(ctx); err != nil {
		return false, err
	}
	config, err := r.thaw(ctx)
	if err != nil || joined {
		return joined, err
	}
	return r.emptied(ctx, config)
}

// joined says whether the cell is in a ring, or in the wanted one.
func (r *returning) joined(ring *v1alpha1.Ring) bool {
	return contains(cellsOf(&ring.Status), r.Cell) || wanted(ring, r.Cell)
}

func (r *returning) took(name StepName, message string) {
	r.progress.done(name, message)
	if r.Step != nil {
		r.Step(name)
	}
}

// admit lets routers use the cell, which is in no ring: nothing is routed to it yet.
func (r *returning) admit(ctx context.Context) error {
	r.progress.begin(StepAdmit)
	for {
		ring, err := r.c.readRing(ctx)
		if err != nil {
			return err
		}
		if !contains(ring.Status.Unavailable, r.Cell) {
			return nil
		}
		ring.Status.Unavailable = minus(ring.Status.Unavailable, r.Cell)
		ring.Status.Epoch++
		_, err = r.c.client.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("write ring: %w", err)
		}
	}
}

// acknowledged waits until no router keeps to a ring in which the cell must not be used.
func (r *returning) acknowledged(ctx context.Context) error {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return err
	}
	crowd, err := routers.NewCrowd(r.c.kube, r.progress.waiting)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer crowd.Wait()
	defer cancel()
	crowd.Start(ctx)
	if err := crowd.Await(ctx, ring.Status.Epoch, 0); err != nil {
		return err
	}
	r.took(StepAdmit, fmt.Sprintf("epoch %d", ring.Status.Epoch))
	return nil
}
