package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// repairRun names the moves of a repair on the objects, as the name of a Rebalance does for its own.
const repairRun = "verify"

// RepairOptions are those of a run that mends.
type RepairOptions struct {
	Options
	// Identity tells the process from others, in the Lease of rebalances, which is held while anything is written.
	Identity string
	// LeaseDuration is how long others wait for one that is silent; 15 s where zero.
	LeaseDuration time.Duration
	// Step is told of each write to an object of a unit that is moved; nil for nobody.
	Step func(migration.Step)
}

// Repair is [Run], and then mends what is safe to mend. It holds the Lease of rebalances meanwhile, and writes nothing
// unless the ring is at rest; the error is an *exit.Error with [exit.Refused] then. What could not be mended says so in its
// Problem. One that is cut off leaves each object as it was, mended, or with the marks of a move, which the next one
// goes on with.
func Repair(ctx context.Context, options RepairOptions) (*Result, error) {
	v, err := begin(ctx, options.Options)
	if err != nil {
		return nil, err
	}
	if options.LeaseDuration == 0 {
		options.LeaseDuration = lease.DefaultDuration
	}
	if err := v.restful(ctx); err != nil {
		return nil, err // and do not wait for the Lease of a run
	}
	err = lease.Hold(ctx, lease.Config{Kube: v.kube, Name: v1alpha1.RebalanceLease, Identity: options.Identity, Duration: options.LeaseDuration},
		func(ctx context.Context) error {
			if err := v.restful(ctx); err != nil {
				return err
			}
			if err := v.run(ctx); err != nil {
				return err
			}
			return v.repair(ctx, options.Step)
		})
	if err != nil {
		return nil, err
	}
	return v.finish(), nil
}

// restful refuses to mend what somebody is at work with.
func (v *verifier) restful(ctx context.Context) error {
	w, err := v.observe(ctx)
	if err != nil {
		return err
	}
	if !w.atRest() {
		return exit.Refusedf("objects are on their way between cells (phase %s): nothing is mended now", w.snap.Phase).
			WithHint("kubectl cell rebalance --attach   # or kubectl cell status, and then run it again")
	}
	return nil
}

// repairer mends.
type repairer struct {
	*verifier
	world  *world
	sealer *envelope.Sealer
	mover  *migration.Mover
	// strays are the units that a move was begun with, nil until they are sought.
	strays *migration.Found
}

func (v *verifier) repair(ctx context.Context, step func(migration.Step)) error {
	sealer, err := envelope.NewSealer()
	if err != nil {
		return err
	}
	w, err := v.observe(ctx)
	if err != nil {
		return err
	}
	if !w.atRest() || w.snap.Epoch != v.result.Epoch {
		return exit.Refusedf("the ring has changed to epoch %d while it was verified: nothing is mended", w.snap.Epoch).WithHint("run the command again")
	}
	cells := map[string]*migration.Cell{}
	for name, c := range v.alive() {
		cells[name] = c.Cell
	}
	r := &repairer{
		verifier: v, world: w, sealer: sealer,
		mover: &migration.Mover{
			Cells: cells, Rebalance: repairRun, Epoch: w.snap.Epoch, Step: step, Clock: clock.RealClock{},
			Left: func(cell string) bool { return !slices.Contains(w.snap.Table.Cells(), cell) },
		},
	}
	for i := range v.result.Findings {
		f := &v.result.Findings[i]
		if !f.Safe {
			continue
		}
		v.tell("mending " + f.Object)
		err := r.mend(ctx, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.Repaired = err == nil; err != nil {
			f.Problem = err.Error()
		}
	}
	return nil
}

// errGone says that a finding is none any more.
var errGone = errors.New("it is not as it was found any more; run it again")

// errLost says that nobody can tell whether a finding still is one.
var errLost = errors.New("a cell does not answer any more; run it again")

// mend looks once more, and mends what is still so.
func (r *repairer) mend(ctx context.Context, f *Finding) error {
	if f.remedy == finish {
		return r.finish(ctx, f)
	}
	ring, err := r.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	if ring.Status.Epoch != r.world.snap.Epoch {
		return errors.New("the ring has changed")
	}
	now := r.look(ctx, r.world, suspect{ref: f.ref})
	i := slices.IndexFunc(now.findings, func(n Finding) bool { return n.Class == f.Class && n.Cell == f.Cell && n.remedy == f.remedy })
	if i < 0 && len(r.alive()) < len(r.world.readable) {
		return errLost
	}
	if i < 0 {
		return errGone
	}
	n := &now.findings[i]
	switch f.remedy {
	case moveHome:
		return r.moveHome(ctx, n)
	case removeCopy:
		return r.removeCopy(ctx, n)
	case removeMark:
		return r.mover.Cells[n.Cell].Remove(ctx, *n.object)
	case seal:
		return r.seal(ctx, n)
	case unseal:
		return r.unseal(ctx, n)
	}
	return nil
}

// moveHome moves an object, and what hangs from it, to the cell that the ring names.
func (r *repairer) moveHome(ctx context.Context, f *Finding) error {
	place, _ := r.world.snap.Table.LookupKey(f.unit)
	unit, err := migration.Gather(ctx, r.mover.Cells[f.Cell], r.world.snap, f.unit, place.Old(), *f.object)
	if err != nil {
		return err
	}
	return r.mover.Move(ctx, unit).Problem()
}

// removeCopy removes a duplicate that is what the object that counts is. A dependent of it is a finding of its own then.
func (r *repairer) removeCopy(ctx context.Context, f *Finding) error {
	if !r.alike(ctx, f) {
		return errGone
	}
	return r.mover.Cells[f.Cell].Remove(ctx, *f.object)
}

// finish takes the move of a unit back, or finishes it.
func (r *repairer) finish(ctx context.Context, f *Finding) error {
	if r.strays == nil {
		found, err := migration.Units(ctx, r.mover.Cells, r.world.snap)
		if err != nil {
			return err
		}
		r.strays = found
	}
	for _, unit := range slices.Concat(r.strays.Strays, r.strays.Units) {
		if unit.From != f.Cell && unit.To != f.Cell || !slices.ContainsFunc(unit.Objects, func(o migration.Object) bool {
			return o.Resource.GroupResource() == f.ref.resource && o.Namespace == f.ref.namespace && o.Name == f.ref.name
		}) {
			continue
		}
		return r.mover.UndoOrFinish(ctx, unit)
	}
	return errGone
}

// seal writes the envelope of an object.
func (r *repairer) seal(ctx context.Context, f *Finding) error {
	cells := r.alive()
	home, source := cells[f.Cell], cells[f.counts]
	if home == nil || source == nil {
		return errors.New("a cell does not answer")
	}
	body, err := source.Raw(ctx, *f.object)
	if err != nil {
		return err
	}
	secret, err := r.sealer.Seal(envelope.Source{
		Resource: f.ref.resource.Resource, Unit: f.unit, Cell: f.counts, BackupCell: f.Cell, Epoch: r.world.snap.Epoch, Written: r.time(),
	}, body)
	if err != nil {
		return err
	}
	if f.envelope == nil {
		_, err = home.secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		return written(err)
	}
	secret.UID, secret.ResourceVersion = types.UID(f.envelope.uid), f.envelope.version
	_, err = home.secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	if !apierrors.IsInvalid(err) {
		return written(err)
	}
	// Somebody has made it immutable, or of another type.
	if err := r.unseal(ctx, f); err != nil {
		return err
	}
	secret.UID, secret.ResourceVersion = "", ""
	_, err = home.secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	return written(err)
}

func written(err error) error {
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return errGone
	case err != nil:
		return fmt.Errorf("write the envelope: %w", err)
	}
	return nil
}

// unseal deletes an envelope as it was seen.
func (r *repairer) unseal(ctx context.Context, f *Finding) error {
	home := r.alive()[f.Cell]
	if home == nil {
		return errors.New("the cell does not answer")
	}
	uid := types.UID(f.envelope.uid)
	err := home.secrets.Delete(ctx, f.envelope.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &f.envelope.version}})
	switch {
	case apierrors.IsConflict(err):
		return errGone
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("delete the envelope: %w", err)
	}
	return nil
}
