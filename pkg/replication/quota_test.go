package replication_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// shares of rings that are described by weights; their cells are a, b, c and so on.
func shares(t *testing.T, current, target []int) replication.Shares {
	t.Helper()
	ring := func(weights []int) *placement.Ring {
		var members []placement.Member
		for i, weight := range weights {
			if weight > 0 {
				members = append(members, placement.Member{Cell: string(rune('a' + i)), Weight: weight})
			}
		}
		if members == nil {
			return nil
		}
		out, err := placement.NewRing(members, 1)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	classes, err := placement.NewClasses(nil)
	if err != nil {
		t.Fatal(err)
	}
	return replication.SharesOf(&routing.Snapshot{Table: placement.NewTable(ring(current), ring(target)), Classes: classes})
}

func TestShares(t *testing.T) {
	for _, test := range []struct {
		name            string
		resource, whole string
		current, target []int
		want            []string // of a, b, c …
	}{
		{"even", "pods", "9", []int{100, 100, 100}, nil, []string{"3", "3", "3"}},
		{"remainder to the first by name", "pods", "10", []int{100, 100, 100}, nil, []string{"4", "3", "3"}},
		{"largest remainder first", "pods", "10", []int{100, 100, 250}, nil, []string{"2", "2", "6"}},
		{"by weight", "pods", "100", []int{100, 300}, nil, []string{"25", "75"}},
		{"less than cells", "services", "1", []int{100, 100, 100}, nil, []string{"1", "0", "0"}},
		{"nothing", "services.loadbalancers", "0", []int{100, 100}, nil, []string{"0", "0"}},
		{"one cell", "pods", "7", []int{100}, nil, []string{"7"}},
		{"processor time", "requests.cpu", "1", []int{100, 100, 100}, nil, []string{"334m", "333m", "333m"}},
		{"processor time, whole", "limits.cpu", "6", []int{100, 200}, nil, []string{"2", "4"}},
		{"bytes", "requests.memory", "1Gi", []int{100, 100}, nil, []string{"512Mi", "512Mi"}},
		{"bytes that leave a rest", "requests.storage", "1Ki", []int{100, 100, 100}, nil, []string{"342", "341", "341"}},
		{"a fraction", "example.com/gpu", "500m", []int{100, 100}, nil, []string{"250m", "250m"}},
		{"large", "requests.storage", "4Ei", []int{1000, 1000}, nil, []string{"2Ei", "2Ei"}},
		{"more processors than can be counted in thousandths", "cpu", "9e18", []int{100, 200}, nil, []string{"3e18", "6e18"}},
		{"objects that every cell has", "resourcequotas", "1", []int{100, 100}, nil, []string{"1", "1"}},
		{"counted by group", "count/roles.rbac.authorization.k8s.io", "10", []int{100, 100}, nil, []string{"10", "10"}},
		{"objects that one cell has", "count/deployments.apps", "10", []int{100, 100}, nil, []string{"5", "5"}},
		{"no ring yet", "pods", "10", nil, nil, []string{"10", "10"}},
		{"outside the ring", "pods", "10", []int{100, 100, 0}, nil, []string{"5", "5", "10"}},
		{"a cell joins", "pods", "12", []int{100, 100, 0}, []int{100, 100, 100}, []string{"6", "6", "4"}},
		{"a cell leaves", "pods", "12", []int{100, 100, 100}, []int{100, 100, 0}, []string{"6", "6", "4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := test.target
			if target == nil {
				target = test.current
			}
			s := shares(t, test.current, target)
			for i, want := range test.want {
				cell := string(rune('a' + i))
				got := s.Of(cell, test.resource, resource.MustParse(test.whole))
				if got.Cmp(resource.MustParse(want)) != 0 {
					t.Errorf("%s gets %s of %s; want %s", cell, got.String(), test.whole, want)
				}
			}
		})
	}
}

// TestSharesAddUp draws rings and limits: what all cells get is the whole, neither more nor less, and
// no cell is further than one unit from its exact part.
func TestSharesAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		weights := make([]int, 1+random.IntN(12))
		total := 0
		for i := range weights {
			weights[i] = 1 + random.IntN(1000)
			total += weights[i]
		}
		name, unit := "pods", int64(1000)
		whole := *resource.NewQuantity(random.Int64N(1+random.Int64N(1<<uint(1+random.IntN(62)))), resource.DecimalSI)
		if random.IntN(2) == 0 {
			name, unit = "requests.cpu", 1
			whole = *resource.NewMilliQuantity(random.Int64N(1e6), resource.DecimalSI)
		}
		s := shares(t, weights, weights)
		sum := resource.Quantity{}
		for i, weight := range weights {
			part := s.Of(string(rune('a'+i)), name, whole)
			sum.Add(part)
			exact := whole.AsApproximateFloat64() * 1000 * float64(weight) / float64(total)
			off := part.AsApproximateFloat64()*1000 - exact
			if part.Sign() < 0 || off >= float64(unit)+1e-3*exact || off <= -float64(unit)-1e-3*exact {
				t.Fatalf("weights %v, whole %s: cell %d gets %s; the exact part is %f thousandths", weights, whole.String(), i, part.String(), exact)
			}
		}
		if sum.Cmp(whole) != 0 {
			t.Fatalf("weights %v: the parts of %s add up to %s", weights, whole.String(), sum.String())
		}
	}
}

func ExampleShares_Of() {
	ring, err := placement.NewRing([]placement.Member{{Cell: "cell-1", Weight: 100}, {Cell: "cell-2", Weight: 50}}, 150)
	if err != nil {
		panic(err)
	}
	s := replication.SharesOf(&routing.Snapshot{Table: placement.NewTable(ring, ring)})
	for _, cell := range []string{"cell-1", "cell-2"} {
		part := s.Of(cell, "pods", resource.MustParse("20"))
		fmt.Println(cell, part.String())
	}
	// Output:
	// cell-1 13
	// cell-2 7
}
