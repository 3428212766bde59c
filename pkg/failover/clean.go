package failover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// compareAtOnce is how many objects are compared at the same time.
const compareAtOnce = 16

// preview judges all objects and changes nothing.
func (r *returning) preview(ctx context.Context) (*v1alpha1.Failover, error) {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return nil, err
	}
	_, said, err := r.compareAll(ctx, ring)
	if err != nil {
		return nil, err
	}
	r.compared(said)
	out := r.record.DeepCopy()
	out.Status = r.progress.read()
	return out, nil
}

// clean empties the cell of whatever a rebalance would move: of two objects of one name the federation's counts. Its objects go
// last: a disk that is full before all that differs is saved has cost it nothing.
func (r *returning) clean(ctx context.Context, ring *v1alpha1.Ring) error {
	r.progress.begin(StepCompare)
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return err
	}
	config, err := configOf(access, r.Cell)
	if err != nil {
		return exit.Refusedf("cell %s: %w", r.Cell, err).WithHint("kubectl cell add %s --kubeconfig FILE", r.Cell)
	}
	state := Freeze(ctx, wrapped(config, r.Cell, r.WrapCell), wrappedAll(access[r.Cell].Endpoints, r.Cell, r.WrapCell)...)
	if err := sayFrozen(ctx, r.c.client, r.Cell, state); err != nil {
		return err
	}
	if !state.InForce() && state.Reason != v1alpha1.ReasonFreezeUnsupported {
		return exit.Refusedf("%s", state).WithHint("kubectl cell status %s", r.Cell)
	}
	r.progress.edit(func(s *v1alpha1.FailoverStatus) { noteFolder(s, r.Host+":"+r.Dir) })
	c, said, err := r.compareAll(ctx, ring)
	if err != nil {
		return err
	}
	if !state.InForce() {
		said += "; " + state.String()
	}
	r.compared(said)
	for _, cell := range slices.Sorted(maps.Keys(access)) {
		if contains(ring.Status.Unavailable, cell) {
			continue // its own failback saves what it has
		}
		config, err := configOf(access, cell)
		if err != nil {
			return exit.Refusedf("cell %s: %w", cell, err).WithHint("kubectl cell status %s", cell)
		}
		if err := r.settle(ctx, cell, wrapped(fence.AsMover(config), cell, r.WrapCell)); err != nil {
			return err
		}
	}
	if err := r.settleHere(ctx, ring, wrapped(fence.AsMover(config), r.Cell, r.WrapCell)); err != nil {
		return err
	}
	if err := c.removeAll(ctx); err != nil {
		return err
	}
	r.took(StepCompare, said)
	return nil
}

// compared says what was found.
func (r *returning) compared(said string) {
	r.progress.edit(func(s *v1alpha1.FailoverStatus) { stepOf(s, StepCompare).Message = said })
}

// comparison is one look through a returned cell.
type comparison struct {
	*returning
	snap  *routing.Snapshot
	here  *migration.Cell
	cells map[string]dynamic.Interface
	files quarantine
	// owners are the objects that others hang from.
	owners map[types.UID]bool

	mu     sync.Mutex
	counts map[Verdict]int64 // guarded by mu
	// judged are the objects to be deleted. Guarded by mu.
	judged []judged
}

// judged is an object in the version that was compared, and saved where that was needed: no other one is deleted.
type judged struct {
	migration.Object
	// held says that it has finalizers.
	held bool
}

// compareAll judges every object of the cell, and unless it is a dry run saves it where it differs. It says how many were judged
// in which way.
func (r *returning) compareAll(ctx context.Context, ring *v1alpha1.Ring) (c *comparison, said string, err error) {
	c, err = r.compare(ctx, ring, func(working context.Context, c *comparison, judge func(migration.Object)) error {
		return c.here.Visit(working, c.snap, func(o migration.Object, _ *metav1.PartialObjectMetadata) error {
			if working.Err() != nil {
				return context.Cause(working)
			}
			judge(o)
			return nil
		})
	})
	if err != nil {
		return nil, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, fmt.Sprintf("%d identical, %d older, %d diverged, %d only here", c.counts[Identical], c.counts[Older], c.counts[Diverged], c.counts[OnlyHere]), nil
}

// compare judges the objects that visit names, and unless it is a dry run saves them where they differ. They are deleted by
// removeAll.
func (r *returning) compare(ctx context.Context, ring *v1alpha1.Ring, visit func(working context.Context, c *comparison, judge func(migration.Object)) error) (*comparison, error) {
	c, err := r.comparison(ctx, ring)
	if err != nil {
		return nil, err
	}
	if c.owners, err = c.here.Owners(ctx); err != nil {
		return nil, fmt.Errorf("find out what owns what in cell %s: %w", r.Cell, err)
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(compareAtOnce)
	err = visit(working, c, func(o migration.Object) {
		group.Go(func() error { return c.one(working, o) })
	})
	if err := cmp.Or(group.Wait(), err); err != nil { // the second one may be that there was the first
		return nil, fmt.Errorf("compare cell %s with the federation: %w", r.Cell, err)
	}
	return c, nil
}

func (r *returning) comparison(ctx context.Context, ring *v1alpha1.Ring) (*comparison, error) {
	snap, err := routing.FromRing(ring)
	if err != nil {
		return nil, err
	}
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return nil, err
	}
	c := &comparison{returning: r, snap: snap, cells: map[string]dynamic.Interface{}, files: quarantine{r.Dir, r.Cell}, counts: map[Verdict]int64{}}
	for _, name := range append(snap.Table.Cells(), r.Cell) {
		config, err := configOf(access, name)
		if err != nil {
			return nil, exit.Refusedf("cell %s: %w", name, err).WithHint("kubectl cell status %s", name)
		}
		config = wrapped(fence.AsMover(config), name, r.WrapCell)
		config.Timeout = migration.RequestTimeout
		if c.cells[name], err = dynamic.NewForConfig(config); err != nil {
			return nil, fmt.Errorf("build client of cell %s: %w", name, err)
		}
		if name != r.Cell {
			continue
		}
		if c.here, err = migration.Connect(name, config); err != nil {
			return nil, exit.Refusedf("cell %s does not answer: %w", name, err).WithHint("kubectl cell status %s", name)
		}
	}
	return c, nil
}

// one judges an object, and saves it where it says something that the federation does not know.
func (c *comparison) one(ctx context.Context, o migration.Object) error {
	here, err := c.cells[c.Cell].Resource(o.Resource.GroupVersionResource).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", o, err)
	}
	if here.GetUID() != o.UID {
		return nil // it was made anew, and is for the next look
	}
	if here.GetDeletionTimestamp() != nil && handled(here) {
		return nil // by an earlier run
	}
	there, err := c.there(ctx, o)
	if err != nil {
		return err
	}
	verdict := Identical
	if !secondary(here, there) {
		key := Key(o.Resource.Group, o.Resource.Resource, o.Namespace, o.Name)
		verdict = Compare(c.Cell, here, there)
		c.count(verdict, key)
	}
	if c.DryRun {
		return nil
	}
	if verdict == Diverged || verdict == OnlyHere {
		if err := c.files.save(o.Resource.GroupResource(), here, there); err != nil {
			return err
		}
	}
	o.ResourceVersion, o.Owners = here.GetResourceVersion(), nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged = append(c.judged, judged{o, len(here.GetFinalizers()) > 0})
	return nil
}

// secondary says whether an object was not the one that counted when its cell died: a tombstone, or a copy of what is still
// where it was to be moved from. Where the federation has none (there is nil) that may have been lost since, and this may
// be all that is left. One that was about to be moved away counted itself.
func secondary(here, there *unstructured.Unstructured) bool {
	if there == nil {
		return false
	}
	switch v1alpha1.RebalanceStatus(here.GetLabels()[v1alpha1.LabelRebalanceStatus]) {
	case v1alpha1.Migrated:
		return true
	case v1alpha1.Incoming:
		return here.GetAnnotations()[v1alpha1.AnnotationFromUID] == string(there.GetUID())
	}
	return false
}

// handled says whether an object in deletion waits for nothing but the garbage collector, which a freeze keeps from its work.
func handled(here metav1.Object) bool {
	finalizers := here.GetFinalizers()
	return len(finalizers) == 1 && finalizers[0] == metav1.FinalizerOrphanDependents
}

func (c *comparison) count(verdict Verdict, key string) {
	c.mu.Lock()
	c.counts[verdict]++
	c.mu.Unlock()
	if verdict != Diverged && verdict != OnlyHere {
		return
	}
	kept := v1alpha1.FailoverKept{Object: key, Cell: c.Cell, Reason: string(verdict)}
	c.progress.edit(func(s *v1alpha1.FailoverStatus) { noteKept(s, kept) })
}

// there is the federation's object of that name, nil for none.
func (c *comparison) there(ctx context.Context, o migration.Object) (*unstructured.Unstructured, error) {
	cells := c.snap.Table.Cells()
	if class, key := c.snap.Classes.Of(o.Resource.Group, o.Resource.Resource, o.Namespace); class == placement.Sharded {
		p, placed := c.snap.Table.Lookup(key, o.Namespace, o.Name)
		if !placed {
			return nil, errors.New("the ring places nothing")
		}
		cells = []string{p.Old()}
	}
	for _, cell := range cells {
		found, err := c.cells[cell].Resource(o.Resource.GroupVersionResource).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s in cell %s: %w", o, cell, err)
		case found.GetLabels()[v1alpha1.LabelRebalanceStatus] == "":
			return found, nil
		}
	}
	return nil, nil //nolint:nilnil // absence is an answer
}

// removeAll deletes what was judged.
func (c *comparison) removeAll(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(compareAtOnce)
	for _, j := range c.judged {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return c.remove(working, j) })
	}
	if err := cmp.Or(group.Wait(), context.Cause(ctx)); err != nil {
		return fmt.Errorf("empty cell %s: %w", c.Cell, err)
	}
	return nil
}

// remove deletes an object without any of its finalizers being heard, and leaves its dependents. Only this one, and as it was
// judged: what is made meanwhile under its name, or was written since in a cell that could not be frozen, stays for the next
// look.
//
// One with dependents goes when the garbage collector has let go of them, which a freeze keeps from its work. That tries
// again and again, so it is not left anything else to do.
func (c *comparison) remove(ctx context.Context, o judged) error {
	objects := c.cells[c.Cell].Resource(o.Resource.GroupVersionResource).Namespace(o.Namespace)
	policy, uid, version := metav1.DeletePropagationBackground, o.UID, o.ResourceVersion
	if o.held {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid, "resourceVersion": version, "finalizers": nil}})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		patched, err := objects.Patch(ctx, o.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.MoverFieldManager})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("take the finalizers off %s: %w", o, err)
		}
		version = patched.GetResourceVersion()
	}
	if c.owners[uid] {
		policy = metav1.DeletePropagationOrphan
	}
	err := objects.Delete(ctx, o.Name, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", o, err)
	}
	return nil
}
