package plan

import (
	"context"
	"errors"
	"strconv"
)

// ErrWorkloads says that the number of workloads to simulate is out of range.
var ErrWorkloads = errors.New("the number of workloads must be between 1 and 2000000000")

// namespaces is the number of synthetic namespaces.
const namespaces = 2000

// checkEvery is the number of workloads (a power of two, some milliseconds' worth) between two
// looks at the context.
const checkEvery = 1 << 16

// addSynthetic places the synthetic workloads first … last-1.
func (t *tally) addSynthetic(ctx context.Context, seed uint64, first, last int) {
	buffer := make([]byte, 0, 32)
	for i := first; i < last; i++ {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return
		}
		buffer = appendSynthetic(buffer[:0], seed, i)
		// The key is not kept, so the conversion does not allocate.
		p, _ := t.table.LookupKey(string(buffer))
		t.workloads++
		t.add(p)
	}
}

// appendSynthetic writes the key of the i-th workload, like "ns-0042/app-123456". Numbers make
// keys distinct; the seed decides their namespaces. Namespaces are of uneven size, as real ones
// are: the product of two uniform draws puts half of the workloads into a fifth of them.
func appendSynthetic(buffer []byte, seed uint64, i int) []byte {
	draw := mix(seed ^ mix(uint64(i)))
	high, low := draw>>32, draw&0xffffffff
	namespace := (high * low >> 32) * namespaces >> 32
	buffer = append(buffer, "ns-"...)
	buffer = appendPadded(buffer, int(namespace), 4)
	buffer = append(buffer, "/app-"...)
	return appendPadded(buffer, i, 6)
}

// appendPadded writes n with at least width digits.
func appendPadded(buffer []byte, n, width int) []byte {
	for limit := pow10(width - 1); n < limit && limit > 1; limit /= 10 {
		buffer = append(buffer, '0')
	}
	return strconv.AppendInt(buffer, int64(n), 10)
}

func pow10(exponent int) int {
	p := 1
	for range exponent {
		p *= 10
	}
	return p
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
