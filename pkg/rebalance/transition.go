package rebalance

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// accept begins a run: the wanted ring becomes the target.
func accept(ring *v1alpha1.Ring, name string) {
	s := &ring.Status
	s.AcceptedEpoch = s.Epoch
	s.Epoch++
	s.Phase, s.Rebalance, s.Aborting = v1alpha1.RingPreparing, name, false
	s.Target = ring.Spec.RingLayout.DeepCopy()
}

// advance takes a run one phase further.
func advance(s *v1alpha1.RingStatus) {
	s.Epoch++
	switch s.Phase {
	case v1alpha1.RingPreparing:
		s.Phase = v1alpha1.RingRebalancing
	case v1alpha1.RingRebalancing:
		s.Phase = v1alpha1.RingSettling
	default:
		s.Phase, s.Current, s.Target = v1alpha1.RingStable, s.Target, nil
	}
}

// turn begins the way back. Before Rebalancing no key was made or moved by the target, so that there is no
// way to go.
func turn(s *v1alpha1.RingStatus) {
	s.Epoch++
	s.Aborting = true
	if s.Phase == v1alpha1.RingPreparing {
		s.Phase, s.Target = v1alpha1.RingStable, nil
		return
	}
	s.Phase, s.Current, s.Target = v1alpha1.RingPreparing, s.Target, s.Current
}

// sameLayout says whether two layouts place every object alike. The order of members places nothing.
func sameLayout(a, b *v1alpha1.RingLayout) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.PointsPerWeight == b.PointsPerWeight && equality.Semantic.DeepEqual(sorted(a.Members), sorted(b.Members)) && sameResources(a, b)
}

func sorted(members []v1alpha1.RingMember) []v1alpha1.RingMember {
	return slices.SortedFunc(slices.Values(members), func(x, y v1alpha1.RingMember) int { return strings.Compare(x.Cell, y.Cell) })
}

// sameResources says whether two layouts hash every object alike.
func sameResources(a, b *v1alpha1.RingLayout) bool {
	key := func(x v1alpha1.ResourceRule) string { return x.Group + "/" + x.Resource }
	order := func(rules []v1alpha1.ResourceRule) []v1alpha1.ResourceRule {
		return slices.SortedFunc(slices.Values(rules), func(x, y v1alpha1.ResourceRule) int { return strings.Compare(key(x), key(y)) })
	}
	return equality.Semantic.DeepEqual(order(a.Resources), order(b.Resources))
}

// cellsOf are the cells of both layouts, by name.
func cellsOf(layouts ...*v1alpha1.RingLayout) []string {
	var out []string
	for _, layout := range layouts {
		if layout == nil {
			continue
		}
		for _, m := range layout.Members {
			out = append(out, m.Cell)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
