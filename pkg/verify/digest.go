package verify

import (
	"hash/maphash"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// digits of an envelope's name, after the prefix, that tell its bucket: 16 values each.
const (
	bucketDigits = 3
	buckets      = 1 << (4 * bucketDigits)
)

// place of an envelope: its cell and its bucket.
type place struct {
	cell   string
	bucket int
}

// digest sums up what is in a bucket. Equal sets have equal digests; different ones have not, but for one in 2⁶⁴.
type digest struct {
	sum   uint64
	count int
}

// digests are those of the envelopes that there have to be, and of those that there are. Each takes 16 bytes a bucket.
type digests struct {
	seed maphash.Seed
	// wanted and found by cell, then by bucket.
	wanted, found map[string]*[buckets]digest
}

func newDigests() *digests {
	return &digests{seed: maphash.MakeSeed(), wanted: map[string]*[buckets]digest{}, found: map[string]*[buckets]digest{}}
}

// bucketOf reads the bucket from an envelope's name; false for a name that is none.
func bucketOf(name string) (int, bool) {
	_, digits, ok := strings.Cut(name, "-")
	if !ok || len(digits) < bucketDigits {
		return 0, false
	}
	bucket, err := strconv.ParseUint(digits[:bucketDigits], 16, 32)
	return int(bucket), err == nil
}

// content is what an envelope has to say.
type content struct {
	name, source, unit string
	uid                types.UID
	version            string
}

func (d *digests) hash(c content) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	for _, field := range []string{c.name, c.source, c.unit, string(c.uid), c.version} {
		_, _ = h.WriteString(field) // never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func (d *digests) add(to map[string]*[buckets]digest, cell string, c content) {
	bucket, ok := bucketOf(c.name)
	if !ok {
		return
	}
	if to[cell] == nil {
		to[cell] = &[buckets]digest{}
	}
	one := &to[cell][bucket]
	one.sum += d.hash(c)
	one.count++
}

// differ are the buckets whose digests are not equal, in rounds of at most so many envelopes, or one bucket.
func (d *digests) differ(most int) []map[place]bool {
	var rounds []map[place]bool
	size := 0
	for cell := range union(d.wanted, d.found) {
		for bucket := range buckets {
			wanted, found := at(d.wanted, cell, bucket), at(d.found, cell, bucket)
			if wanted == found {
				continue
			}
			more := wanted.count + found.count
			if len(rounds) == 0 || size+more > most {
				rounds, size = append(rounds, map[place]bool{}), 0
			}
			rounds[len(rounds)-1][place{cell, bucket}] = true
			size += more
		}
	}
	return rounds
}

func at(all map[string]*[buckets]digest, cell string, bucket int) digest {
	if all[cell] == nil {
		return digest{}
	}
	return all[cell][bucket]
}

func union(a, b map[string]*[buckets]digest) map[string]bool {
	out := map[string]bool{}
	for cell := range a {
		out[cell] = true
	}
	for cell := range b {
		out[cell] = true
	}
	return out
}
