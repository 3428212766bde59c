package quota

import (
	"math"
	"math/big"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// unit is what amounts of a limit are counted in.
type unit int64

const (
	whole    unit = 1
	thousand unit = 1000 // thousandths
)

// unitOf is a thousandth for processor time and for what has a fraction, where that can be counted, else 1.
func unitOf(name corev1.ResourceName, amounts []resource.Quantity) unit {
	fine := name == corev1.ResourceCPU || strings.HasSuffix(string(name), ".cpu")
	for _, amount := range amounts {
		value := amount.Value() // rounded up where there is a fraction
		if value > math.MaxInt64/1000/int64(len(amounts)) {
			return whole
		}
		fine = fine || amount.CmpInt64(value) != 0
	}
	if fine {
		return thousand
	}
	return whole
}

func (u unit) of(amount resource.Quantity) int64 {
	if u == thousand {
		return amount.MilliValue()
	}
	return amount.Value()
}

func (u unit) quantity(amount int64, format resource.Format) resource.Quantity {
	if format == "" {
		format = resource.DecimalSI
	}
	if u == thousand {
		return *resource.NewMilliQuantity(amount, format)
	}
	return *resource.NewQuantity(amount, format)
}

// Parts splits an amount, which is 0 or more, by weights and the method of largest remainders, so that the parts
// add up to it exactly; of equal remainders the first get one more. Where all weights are 0 nobody gets anything.
func Parts(amount int64, weights []int64) []int64 {
	out, remainders, order := floors(amount, weights), make([]*big.Int, len(weights)), make([]int, len(weights))
	total := sum(weights)
	if total.Sign() == 0 {
		return out
	}
	left := amount
	for i, weight := range weights {
		product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(weight))
		remainders[i], order[i] = product.Rem(product, total), i
		left -= out[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return remainders[b].Cmp(remainders[a]) })
	for _, i := range order[:left] {
		out[i]++
	}
	return out
}

// floors are the parts without what rounding adds to some.
func floors(amount int64, weights []int64) []int64 {
	out := make([]int64, len(weights))
	total := sum(weights)
	if total.Sign() == 0 {
		return out
	}
	for i, weight := range weights {
		product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(weight))
		out[i] = product.Quo(product, total).Int64()
	}
	return out
}

func sum(weights []int64) *big.Int {
	total := new(big.Int)
	for _, weight := range weights {
		total.Add(total, big.NewInt(weight))
	}
	return total
}
