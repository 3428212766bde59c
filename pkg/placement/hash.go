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
func hashKey(head, tail string) hash {
	if len(head)+1+len(tail) > inlineKey {
		if head == "" {
			return newHash(md5.Sum([]byte(tail)))
		}
		return newHash(md5.Sum([]byte(head + "/" + tail)))
	}
	var buffer [inlineKey]byte
	n := 0
	if head != "" {
		n = copy(buffer[:], head)
		buffer[n] = '/'
		n++
	}
	n += copy(buffer[n:], tail)
	return newHash(md5.Sum(buffer[:n]))
}

// appendPointName writes the string that is hashed for a point of a cell: "<cell>-<index>".
// No two points share it, because the index holds no '-'.
func appendPointName(buffer []byte, cell string, index int) []byte {
	buffer = append(buffer, cell...)
	buffer = append(buffer, '-')
	return strconv.AppendInt(buffer, int64(index), 10)
}
