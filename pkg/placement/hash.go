package placement

import (
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// hash is a place on the ring: xxHash64 of a key or of a point's name, with seed 0. Never change
// it: the objects of a federation that has some would be looked for in other cells.
type hash uint64

// inlineKey is the length in bytes up to which a key of two parts is hashed without allocating. The longest
// key of a Kubernetes object is 63 + 1 + 253 bytes.
const inlineKey = 320

// hashKey hashes "head/tail", or tail alone when head is empty.
func hashKey(head, tail string) hash {
	if head == "" {
		return hash(xxhash.Sum64String(tail))
	}
	var buffer [inlineKey]byte
	key := append(buffer[:0], head...)
	key = append(key, '/')
	key = append(key, tail...)
	return hash(xxhash.Sum64(key))
}

// hashPoint hashes "<cell>-<index>", the name of a point of a cell. No two points share a name,
// because the index holds no '-'.
func hashPoint(cell string, index int) hash {
	var buffer [MaxCellNameLength + 1 + 20]byte
	name := append(buffer[:0], cell...)
	name = append(name, '-')
	name = strconv.AppendInt(name, int64(index), 10)
	return hash(xxhash.Sum64(name))
}
