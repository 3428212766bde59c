package federation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// InitOptions say how a federation begins.
type InitOptions struct {
	Options
	// Founders are the first cells. They become the current ring at once: before the first epoch
	// there is nothing that could move. Without founders, cells are added to the wanted ring only.
	Founders []NewCell
	// PointsPerWeight 0 leaves it as it is, 100 for a new ring.
	PointsPerWeight int32
}

// InitResult is what [Init] found and did.
type InitResult struct {
	// Installed are the CRDs, namespace and roles, in order of installation.
	Installed []Installed
	// Founders are the reports of the founders, in the order given.
	Founders []AddReport
	// Founded is true when this call made the first layout, false when there was one already or
	// no founder was given.
	Founded bool
	// Ring as it is now; nil in a dry run on a control plane that has none.
	Ring *v1alpha1.Ring
}

// Init makes a control plane the router control plane of a federation: it installs the CRDs, the
// namespace, the roles and the Ring, and takes the founders in as the current ring of epoch 1.
//
// It may be repeated, and completes a call that was cut off: founders count from the moment that the
// status is written, which is last. A ring that has a layout keeps it; founders other than its
// members are refused.
func Init(ctx context.Context, rcp *rest.Config, options InitOptions) (InitResult, error) {
	c, err := connect(rcp)
	if err != nil {
		return InitResult{}, err
	}
	if err := checkFounders(options); err != nil {
		return InitResult{}, err
	}
	if err := c.refuseCell(ctx); err != nil {
		return InitResult{}, err
	}
	var result InitResult
	if result.Installed, err = c.install(ctx, options.DryRun); err != nil {
		return result, err
	}
	if result.Ring, err = c.ensureRing(ctx, options); err != nil {
		return result, err
	}
	if len(options.Founders) == 0 {
		return result, nil
	}
	if result.Ring != nil && result.Ring.Status.Epoch > 0 {
		if err := sameFounders(result.Ring, options); err != nil {
			return result, err
		}
	}
	return c.found(ctx, options, result)
}

// refuseCell refuses a control plane that is a cell of another one's federation: it would be both from then on, and
// whoever meant the other one would look for its cells in vain. A cell is known by its fence.
func (c *connection) refuseCell(ctx context.Context) error {
	_, err := c.cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return passOn("read ring", err)
	}
	_, err = c.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, fence.Name, metav1.GetOptions{})
	if err != nil {
		return nil //nolint:nilerr // it has none, or is too old for one, or what fails here fails again where it matters
	}
	return exit.Refusedf("%s is a cell of a federation; its router control plane must be another control plane", c.config.Host).
		WithHint("kubectl cell init --context ROUTER-CONTROL-PLANE   # one that was removed for good: kubectl delete validatingadmissionpolicy %s", fence.Name)
}

func (c *connection) install(ctx context.Context, dryRun bool) ([]Installed, error) {
	installed, err := c.installCRDs(ctx, dryRun)
	if err != nil {
		return installed, err
	}
	for _, m := range manifests() {
		done, err := c.apply(ctx, m.resource, m.object, dryRun)
		if err != nil {
			return installed, err
		}
		installed = append(installed, done)
	}
	return installed, nil
}

// ensureRing creates the Ring where it is missing. In a dry run it may stay missing: nil.
func (c *connection) ensureRing(ctx context.Context, options InitOptions) (*v1alpha1.Ring, error) {
	ring, err := c.cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if options.DryRun {
			return nil, nil
		}
		ring = &v1alpha1.Ring{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName}}
		ring.Spec.Members = []v1alpha1.RingMember{}
		ring.Spec.PointsPerWeight = placement.DefaultPointsPerWeight
		if options.PointsPerWeight != 0 {
			ring.Spec.PointsPerWeight = options.PointsPerWeight
		}
		ring, err = c.cell.Rings().Create(ctx, ring, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsAlreadyExists(err) {
			ring, err = c.ring(ctx) // somebody else's init was faster
		}
	}
	if err != nil {
		return nil, passOn("create ring "+v1alpha1.RingName, err)
	}
	if p := options.PointsPerWeight; p != 0 && p != ring.Spec.PointsPerWeight && ring.Status.Epoch > 0 {
		return nil, exit.Refusedf("the ring has %d points per weight already; %d would move workloads", ring.Spec.PointsPerWeight, p).
			WithHint("kubectl edit ring.kubecell.io default ; kubectl cell diff   # what it would move")
	}
	return ring, nil
}

// found stores the founders and then writes the first layout, in two steps of which each finds what
// the other did: spec.members, and status with epoch 1.
func (c *connection) found(ctx context.Context, options InitOptions, result InitResult) (InitResult, error) {
	// All founders are checked before the first is stored.
	var inspected []*inspection
	for _, founder := range options.Founders {
		i, err := c.checkCell(ctx, founder, toJoin)
		if err != nil {
			return result, err
		}
		inspected = append(inspected, i)
	}
	if err := checkDistinct(inspected); err != nil {
		return result, err
	}
	for _, i := range inspected {
		report, err := c.storeCell(ctx, i, result.Ring, options.Options)
		if err != nil {
			return result, err
		}
		result.Founders = append(result.Founders, report)
	}
	if options.DryRun {
		result.Founded = result.Ring == nil || result.Ring.Status.Epoch == 0
		return result, nil
	}
	change, err := c.changeRing(ctx, options.Options, func(ring *v1alpha1.Ring) (bool, error) {
		if ring.Status.Epoch > 0 {
			return false, sameFounders(ring, options)
		}
		return wantFounders(ring, options)
	})
	if err != nil {
		return result, err
	}
	result.Ring = change.After
	if result.Ring.Status.Epoch > 0 {
		return result, nil
	}
	ring := result.Ring.DeepCopy()
	layout := ring.Spec.RingLayout.DeepCopy()
	ring.Status.Current, ring.Status.Target = layout, nil
	ring.Status.Epoch, ring.Status.Phase = 1, v1alpha1.RingStable
	// The resourceVersion is that of the spec that was just written: a conflict means that
	// somebody changed it in between, and the caller should look before trying again.
	ring, err = c.cell.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	if apierrors.IsConflict(err) {
		return result, exit.Refusedf("the ring was changed by somebody else while it was founded").
			WithHint("kubectl cell status   # then run the same command again")
	}
	if err != nil {
		return result, passOn("write the first layout of the ring", err)
	}
	result.Ring, result.Founded = ring, true
	for _, founder := range options.Founders {
		if err := c.joined(ctx, founder.Name); err != nil {
			return result, err
		}
	}
	return result, nil
}

// wantFounders makes spec.members the founders. Members that were added by others before are not
// thrown out silently.
func wantFounders(ring *v1alpha1.Ring, options InitOptions) (bool, error) {
	want := founderMembers(options.Founders)
	for _, m := range ring.Spec.Members {
		if memberIndex(want, m.Cell) < 0 {
			return false, exit.Refusedf("%s is in the wanted ring but not among the founders", m.Cell).
				WithHint("kubectl cell init --founder %s …   # or: kubectl cell drain %s", m.Cell, m.Cell)
		}
	}
	changed := !sameMembers(ring.Spec.Members, want)
	ring.Spec.Members = want
	if p := options.PointsPerWeight; p != 0 && p != ring.Spec.PointsPerWeight {
		ring.Spec.PointsPerWeight, changed = p, true
	}
	return changed, nil
}

// sameFounders refuses founders that differ from the current layout.
func sameFounders(ring *v1alpha1.Ring, options InitOptions) error {
	if ring.Status.Current == nil {
		return nil
	}
	current := ring.Status.Current.Members
	want := founderMembers(options.Founders)
	if sameMembers(current, want) {
		return nil
	}
	refused := exit.Refusedf("the ring was founded already, with %s; founders cannot be changed", describe(current))
	for _, m := range want {
		if memberIndex(current, m.Cell) < 0 {
			return refused.WithHint("kubectl cell add %s --kubeconfig FILE --weight %d", m.Cell, m.Weight)
		}
	}
	return refused.WithHint("kubectl cell status")
}

// sameMembers compares as sets: the order of members places nothing.
func sameMembers(a, b []v1alpha1.RingMember) bool {
	byCell := func(x, y v1alpha1.RingMember) int { return strings.Compare(x.Cell, y.Cell) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byCell), slices.SortedFunc(slices.Values(b), byCell))
}

func founderMembers(founders []NewCell) []v1alpha1.RingMember {
	out := make([]v1alpha1.RingMember, 0, len(founders))
	for _, f := range founders {
		out = append(out, v1alpha1.RingMember{Cell: f.Name, Weight: f.weight()})
	}
	return out
}

func describe(members []v1alpha1.RingMember) string {
	out := make([]string, 0, len(members))
	for _, m := range members {
		out = append(out, fmt.Sprintf("%s (weight %d)", m.Cell, m.Weight))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// checkFounders finds what is wrong with the founders without asking any server.
func checkFounders(options InitOptions) error {
	seen := map[string]bool{}
	for _, f := range options.Founders {
		if err := f.check(); err != nil {
			return err
		}
		if seen[f.Name] {
			return exit.Usagef("%s is named as a founder twice", f.Name)
		}
		seen[f.Name] = true
	}
	if p := options.PointsPerWeight; p < 0 || p > placement.MaxPointsPerWeight {
		return exit.Usagef("points per weight is %d; it must be 1 to %d", p, placement.MaxPointsPerWeight)
	}
	return nil
}
