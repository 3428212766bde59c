package verify

import (
	"hash/maphash"

	"k8s.io/apimachinery/pkg/types"
)

// filterBits is the size of a filter: 4 MiB. With a million UIDs in it, it takes one of 10⁷ others for one of them.
const (
	filterBits   = 1 << 25
	filterHashes = 8
)

// filter is a set of UIDs that may say yes of one that is not in it, and never no of one that is (a Bloom filter).
type filter struct {
	seed maphash.Seed
	bits []uint64
}

func newFilter() *filter {
	return &filter{seed: maphash.MakeSeed(), bits: make([]uint64, filterBits/64)}
}

// positions are those of a UID, by double hashing.
func (f *filter) positions(uid types.UID) [filterHashes]uint64 {
	h := maphash.String(f.seed, string(uid))
	step := h>>32 | 1
	var out [filterHashes]uint64
	for i := range out {
		out[i] = (h + uint64(i)*step) % filterBits
	}
	return out
}

func (f *filter) add(uid types.UID) {
	for _, at := range f.positions(uid) {
		f.bits[at/64] |= 1 << (at % 64)
	}
}

func (f *filter) has(uid types.UID) bool {
	for _, at := range f.positions(uid) {
		if f.bits[at/64]&(1<<(at%64)) == 0 {
			return false
		}
	}
	return true
}
