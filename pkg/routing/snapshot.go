// Package routing is the routing configuration: what a router or a command must know to say where
// an object lives, as one immutable value, and its form on disk.
//
// A [Snapshot] is built from the Ring alone. It never changes; whoever needs the newest one swaps a
// pointer. Nothing here asks a server: feeding it is the work of pkg/router and of the commands.
//
// Not promised: that a snapshot is the newest. Its epoch says how new it is.
package routing

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Snapshot says where every object lives at one epoch.
type Snapshot struct {
	// Epoch of the ring that this was built from; 0 when nothing is placed yet.
	Epoch int64
	// Phase of that ring; empty when nothing is placed yet.
	Phase v1alpha1.RingPhase
	// Table places keys.
	Table *placement.Table
	// Classes places resources.
	Classes *placement.Classes
	// Unavailable are the cells that were failed over and must not be asked for anything.
	Unavailable map[string]bool
	// Promoting are the cells that have left the ring and whose envelopes are not all promoted yet. They are
	// unavailable as well.
	Promoting map[string]bool
	// Withheld are the cells in which nothing is promoted yet: their envelopes may be of objects that were deleted.
	Withheld map[string]bool
	// Failover is the run that is taking a cell out of the ring; empty at other times.
	Failover string
	// Slots are the cells' places in the resource versions that routers show, 1 to 999.
	Slots map[string]int
	// ControlPlanes are the UIDs of the cells' namespaces kube-system.
	ControlPlanes map[string]string
	// Window is the newest number that a Rebalance wants to have acknowledged.
	Window int64
	// Protection says whose writes are answered only once their envelopes are stored.
	Protection Protection

	current, target *v1alpha1.RingLayout
	// former are the tables in which the cells of Promoting were last, as far as that is known.
	former map[string]*placement.Table
}

// FromRing returns the snapshot of where data lives now: Ring.status. A ring without a current
// layout gives a snapshot that places nothing.
func FromRing(ring *v1alpha1.Ring) (*Snapshot, error) {
	return build(ring, ring.Status.Target)
}

// Successor is FromRing for one who has an earlier snapshot: what took long to build is shared where the
// layouts are the same. previous may be nil.
func Successor(previous *Snapshot, ring *v1alpha1.Ring) (*Snapshot, error) {
	if previous == nil || previous.current == nil || !equality.Semantic.DeepEqual(previous.current, ring.Status.Current) ||
		!equality.Semantic.DeepEqual(previous.target, ring.Status.Target) {
		next, err := FromRing(ring)
		if err != nil {
			return nil, err
		}
		return next.successor(previous, ring), nil
	}
	next := *previous
	return next.successor(previous, ring), nil
}

// Wanted returns the snapshot of a rebalance that would be accepted now: from Ring.status.current to
// Ring.spec. Resource classes are the current ones, since that is where data lives.
func Wanted(ring *v1alpha1.Ring) (*Snapshot, error) {
	return build(ring, &ring.Spec.RingLayout)
}

func build(ring *v1alpha1.Ring, target *v1alpha1.RingLayout) (*Snapshot, error) {
	currentRing, err := placementRing(ring.Status.Current)
	if err != nil {
		return nil, fmt.Errorf("current layout of ring %s: %w", ring.Name, err)
	}
	targetRing, err := placementRing(target)
	if err != nil {
		return nil, fmt.Errorf("target layout of ring %s: %w", ring.Name, err)
	}
	layout := ring.Status.Current
	if layout == nil {
		layout = &ring.Spec.RingLayout
	}
	classes, err := placementClasses(layout.Resources)
	if err != nil {
		return nil, fmt.Errorf("resource classes of ring %s: %w", ring.Name, err)
	}
	s := &Snapshot{
		Table:   placement.NewTable(currentRing, targetRing),
		Classes: classes,
		current: ring.Status.Current,
		target:  target,
	}
	s.observe(ring)
	return s, nil
}

// Tide says, while keys move, what a cell does: -2 where it leaves, -1 where it shrinks, 0 where it stays or nothing
// moves, 1 where it grows, 2 where it joins. A key moves from a lower one to a higher one, or between two that shrink
// or two that grow.
func (s *Snapshot) Tide(cell string) int {
	if s.current == nil || s.target == nil {
		return 0
	}
	before, after := points(s.current, cell), points(s.target, cell)
	tide := cmp.Compare(after, before)
	if before == 0 || after == 0 {
		tide *= 2
	}
	return tide
}

// points are those of a cell in a layout, 0 where it is no member.
func points(layout *v1alpha1.RingLayout, cell string) int64 {
	for _, m := range layout.Members {
		if m.Cell == cell {
			return int64(m.Weight) * int64(cmp.Or(layout.PointsPerWeight, placement.DefaultPointsPerWeight))
		}
	}
	return 0
}

// observe takes over what a ring says beside its layouts.
func (s *Snapshot) observe(ring *v1alpha1.Ring) {
	s.Protection = protectionOf(ring.Spec.Protection)
	s.Epoch, s.Phase, s.Window = ring.Status.Epoch, ring.Status.Phase, ring.Status.Window
	s.Failover = ring.Status.Failover
	s.Unavailable, s.Promoting, s.Withheld = set(ring.Status.Unavailable), set(ring.Status.Promoting), set(ring.Status.Withheld)
	s.Slots = make(map[string]int, len(ring.Status.Slots))
	s.ControlPlanes = make(map[string]string, len(ring.Status.Slots))
	for _, slot := range ring.Status.Slots {
		if int(slot.Slot) > s.Slots[slot.Cell] {
			s.Slots[slot.Cell], s.ControlPlanes[slot.Cell] = int(slot.Slot), slot.ControlPlane
		}
	}
}

func set(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[name] = true
	}
	return out
}

// placementRing is nil, an empty ring, for an absent layout or one without members.
func placementRing(layout *v1alpha1.RingLayout) (*placement.Ring, error) {
	if layout == nil || len(layout.Members) == 0 {
		return nil, nil
	}
	members := make([]placement.Member, len(layout.Members))
	for i, m := range layout.Members {
		members[i] = placement.Member{Cell: m.Cell, Weight: int(m.Weight)}
	}
	points := int(layout.PointsPerWeight)
	if points == 0 {
		points = placement.DefaultPointsPerWeight
	}
	return placement.NewRing(members, points)
}

func placementClasses(rules []v1alpha1.ResourceRule) (*placement.Classes, error) {
	overrides := make([]placement.Rule, len(rules))
	for i, r := range rules {
		class, err := placement.ParseClass(string(r.Class))
		if err != nil {
			return nil, fmt.Errorf("resource %s.%s: %w", r.Resource, r.Group, err)
		}
		key, err := placement.ParseKeyRule(string(r.Key))
		if err != nil {
			return nil, fmt.Errorf("resource %s.%s: %w", r.Resource, r.Group, err)
		}
		overrides[i] = placement.Rule{Group: r.Group, Resource: r.Resource, Class: class, Key: key}
	}
	return placement.NewClasses(overrides)
}
