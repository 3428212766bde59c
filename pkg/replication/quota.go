package replication

import (
	"math"
	"math/big"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Shares are the parts that cells get of what is divided among them: in proportion to their weights
// in the ring. The zero value divides nothing.
//
// A limit on the number of objects that are Replicated themselves is not divided: every cell has all
// of them.
//
// While a rebalance runs, a cell gets the larger of its parts in the current and in the target ring:
// what moves must find room in its new cell, and what has not moved must keep it. For that time all
// parts together may be more than the whole.
type Shares struct {
	current, target []placement.Member
	classes         *placement.Classes
}

// SharesOf are the shares by the rings and classes of a snapshot.
func SharesOf(snap *routing.Snapshot) Shares {
	return Shares{
		current: snap.Table.Current().Members(), target: snap.Table.Target().Members(),
		classes: snap.Classes,
	}
}

// Equal says whether the cells of both have the same weights.
func (s Shares) Equal(other Shares) bool {
	return slices.Equal(s.current, other.current) && slices.Equal(s.target, other.target)
}

// Of is the part of a quota's hard limit that a cell gets; name is that of the limited resource, such
// as "requests.cpu". A cell outside the ring takes no workloads and gets the whole: so it can be
// prepared before it joins, and what it keeps after it has left goes on.
func (s Shares) Of(cell, name string, whole resource.Quantity) resource.Quantity {
	before, inCurrent := divide(name, whole, s.current, cell)
	after, inTarget := divide(name, whole, s.target, cell)
	switch {
	case !inCurrent && !inTarget || s.everywhere(name):
		return whole
	case !inTarget || inCurrent && before.Cmp(after) > 0:
		return before
	}
	return after
}

// everywhere says whether a limit counts objects that every cell has a copy of. It is called "count/"
// and the resource with its group, or just the resource for some of the core group.
func (s Shares) everywhere(name string) bool {
	if s.classes == nil {
		return false
	}
	resource, group, _ := strings.Cut(strings.TrimPrefix(name, "count/"), ".")
	class, _ := s.classes.Of(group, resource, "")
	return class == placement.Replicated
}

// divide splits whole by the method of largest remainders, so that the parts add up to it exactly; of
// equal remainders the first cells by name get one more. The unit is 1, or a thousandth for processor
// time and for what has a fraction. false: the cell is no member.
func divide(name string, whole resource.Quantity, members []placement.Member, cell string) (resource.Quantity, bool) {
	own := slices.IndexFunc(members, func(m placement.Member) bool { return m.Cell == cell })
	if own < 0 {
		return resource.Quantity{}, false
	}
	units := whole.Value() // rounded up where there is a fraction
	fine := name == "cpu" || strings.HasSuffix(name, ".cpu") || whole.CmpInt64(units) != 0
	if fine && units <= math.MaxInt64/1000 {
		return *resource.NewMilliQuantity(parts(whole.MilliValue(), members)[own], whole.Format), true
	}
	return *resource.NewQuantity(parts(units, members)[own], whole.Format), true
}

// parts of whole, which is 0 or more, in the order of the members.
func parts(whole int64, members []placement.Member) []int64 {
	total := int64(0)
	for _, m := range members {
		total += int64(m.Weight)
	}
	out, remainders := make([]int64, len(members)), make([]int64, len(members))
	left := whole
	for i, m := range members {
		product := new(big.Int).Mul(big.NewInt(whole), big.NewInt(int64(m.Weight)))
		quotient, remainder := product.QuoRem(product, big.NewInt(total), new(big.Int))
		out[i], remainders[i] = quotient.Int64(), remainder.Int64()
		left -= out[i]
	}
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	// Members are sorted by name, and the sort keeps their order where remainders are equal.
	slices.SortStableFunc(order, func(a, b int) int { return int(min(1, max(-1, remainders[b]-remainders[a]))) })
	for _, i := range order[:left] {
		out[i]++
	}
	return out
}

// part is what the cell gets of a source: all of it, but of a quota its share. The source itself is
// left as it is.
func (c Cell) part(source *unstructured.Unstructured) *unstructured.Unstructured {
	if source.GetKind() != "ResourceQuota" || source.GetAPIVersion() != "v1" ||
		source.GetAnnotations()[v1alpha1.AnnotationQuota] == v1alpha1.QuotaWhole {
		return source
	}
	hard, found, _ := unstructured.NestedMap(source.Object, "spec", "hard")
	if !found {
		return source
	}
	for name, value := range hard {
		text, ok := value.(string)
		whole, err := resource.ParseQuantity(text)
		if !ok || err != nil {
			continue // the apiserver has accepted it, so this does not happen
		}
		part := c.Shares.Of(c.Name, name, whole)
		if part.Cmp(whole) != 0 {
			hard[name] = part.String()
		}
	}
	out := source.DeepCopy()
	// hard is a copy of what was found at this place.
	_ = unstructured.SetNestedMap(out.Object, hard, "spec", "hard")
	return out
}
