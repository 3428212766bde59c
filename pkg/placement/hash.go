package placement

import (
	"crypto/md5"
	"encoding/binary"
	"strconv"
)

// hash is a place on the ring: an md5 digest as two words that compare like the signed 64-bit
// halves of hashring's Int64PairHashKey. The sign bits are flipped, so that unsigned comparison
// gives the signed order and the top bits of high can index a table.
type hash struct{ high, low uint64 }

const signBit = 1 << 63

// newHash reads a digest: little-endian, the first half is the more significant one.
func newHash(digest [md5.Size]byte) hash {
	return hash{
		high: binary.LittleEndian.Uint64(digest[:8]) ^ signBit,
		low:  binary.LittleEndian.Uint64(digest[8:]) ^ signBit,
	}
}

// digest is the inverse of newHash.
func (h hash) digest() (digest [md5.Size]byte) {
	binary.LittleEndian.PutUint64(digest[:8], h.high^signBit)
	binary.LittleEndian.PutUint64(digest[8:], h.low^signBit)
	return digest
}

func (h hash) less(other hash) bool {
	return h.high < other.high || (h.high == other.high && h.low < other.low)
}

// compare orders hashes for the slices package.
func (h hash) compare(other hash) int {
	switch {
	case h.less(other):
		return -1
	case other.less(h):
		return 1
	}
	return 0
}

// inlineKey is the length in bytes up to which a key is hashed without allocating. The longest
// key of a Kubernetes object is 63 + 1 + 253 bytes.
const inlineKey = 320

// hashKey hashes "head/tail", or tail alone when head is empty.
func (k *sines) hashKey(head, tail string) hash {
	if len(head)+1+len(tail) > oneBlock {
		return hashLongKey(head, tail)
	}
	var block [64]byte
	n := 0
	if head != "" {
		n = copy(block[:], head)
		block[n] = '/'
		n++
	}
	n += copy(block[n:], tail)
	return k.sumBlock(&block, n)
}

func hashLongKey(head, tail string) hash {
	var buffer [inlineKey]byte
	key := buffer[:0]
	if head != "" {
		key = append(key, head...)
		key = append(key, '/')
	}
	return newHash(md5.Sum(append(key, tail...)))
}

// hashPoint hashes "<cell>-<index>", the name of a point of a cell. No two points share a name,
// because the index holds no '-'.
func (k *sines) hashPoint(cell string, index int) hash {
	var block [64]byte
	name := append(block[:0], cell...)
	name = append(name, '-')
	name = strconv.AppendInt(name, int64(index), 10)
	if len(name) > oneBlock {
		return newHash(md5.Sum(name))
	}
	// The name lies in the block unless it outgrew it, which the line above has excluded.
	return k.sumBlock(&block, len(name))
}
