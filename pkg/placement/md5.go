package placement

import (
	"encoding/binary"
	"math/bits"
)

// Hashing is four fifths of a lookup, and md5 has no parallelism: each of its 64 steps needs the one
// before. On the machine where this was measured (EPYC at 3.2 GHz, the best of 1,500 runs)
// crypto/md5 takes 128 ns for a key and this file 84 ns for the block, 106 ns with the copying of the
// key into it. A lookup takes 128 ns in all with 3 cells, 132 ns with 8 and 159 ns with 64, whose
// table outgrows the caches. Two things make the difference, and BenchmarkHash shows whether they
// still do:
//
//   - The constants are read from memory. The compiler gathers constants at the end of a sum,
//     that is, behind the operand that the sum waits for.
//   - Each round is a function of its own, so that the state stays in registers.
//
// The floor is 64 steps of four (rounds 2 and 3) or five dependent operations, which the block
// reaches: only another hash than hashring's would be faster.

// sines are the constants of the 64 steps by round: the first 32 bits of |sin(i+1)|
// (RFC 1321, 3.4). They belong to a value rather than to the program, see above.
type sines [4][16]uint32

func newSines() *sines {
	return &sines{
		{
			0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee,
			0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
			0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
			0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
		},
		{
			0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa,
			0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
			0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
			0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
		},
		{
			0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
			0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
			0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05,
			0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
		},
		{
			0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039,
			0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
			0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
			0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
		},
	}
}

// oneBlock is the length in bytes of the longest key that md5 takes in one block.
const oneBlock = 64 - 1 - 8

// sumBlock is the md5 of the first n bytes of the block, n ≤ oneBlock; the others must be 0. It
// overwrites them with the padding.
func (k *sines) sumBlock(block *[64]byte, n int) hash {
	block[n] = 0x80
	binary.LittleEndian.PutUint64(block[56:], uint64(n)*8)
	const a0, b0, c0, d0 = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476
	a, b, c, d := round1(block, &k[0], a0, b0, c0, d0)
	a, b, c, d = round2(block, &k[1], a, b, c, d)
	a, b, c, d = round3(block, &k[2], a, b, c, d)
	a, b, c, d = round4(block, &k[3], a, b, c, d)
	return hash{
		high: (uint64(b+b0)<<32 | uint64(a+a0)) ^ signBit,
		low:  (uint64(d+d0)<<32 | uint64(c+c0)) ^ signBit,
	}
}

// word is the i-th little-endian word of a block.
func word(x *[64]byte, i int) uint32 { return binary.LittleEndian.Uint32(x[4*i : 4*i+4]) }

// round1 mixes with F(b,c,d) = b ? c : d.
//
//go:noinline
func round1(x *[64]byte, k *[16]uint32, a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a = b + bits.RotateLeft32(a+k[0]+word(x, 0)+(((c^d)&b)^d), 7)
	d = a + bits.RotateLeft32(d+k[1]+word(x, 1)+(((b^c)&a)^c), 12)
	c = d + bits.RotateLeft32(c+k[2]+word(x, 2)+(((a^b)&d)^b), 17)
	b = c + bits.RotateLeft32(b+k[3]+word(x, 3)+(((d^a)&c)^a), 22)
	a = b + bits.RotateLeft32(a+k[4]+word(x, 4)+(((c^d)&b)^d), 7)
	d = a + bits.RotateLeft32(d+k[5]+word(x, 5)+(((b^c)&a)^c), 12)
	c = d + bits.RotateLeft32(c+k[6]+word(x, 6)+(((a^b)&d)^b), 17)
	b = c + bits.RotateLeft32(b+k[7]+word(x, 7)+(((d^a)&c)^a), 22)
	a = b + bits.RotateLeft32(a+k[8]+word(x, 8)+(((c^d)&b)^d), 7)
	d = a + bits.RotateLeft32(d+k[9]+word(x, 9)+(((b^c)&a)^c), 12)
	c = d + bits.RotateLeft32(c+k[10]+word(x, 10)+(((a^b)&d)^b), 17)
	b = c + bits.RotateLeft32(b+k[11]+word(x, 11)+(((d^a)&c)^a), 22)
	a = b + bits.RotateLeft32(a+k[12]+word(x, 12)+(((c^d)&b)^d), 7)
	d = a + bits.RotateLeft32(d+k[13]+word(x, 13)+(((b^c)&a)^c), 12)
	c = d + bits.RotateLeft32(c+k[14]+word(x, 14)+(((a^b)&d)^b), 17)
	b = c + bits.RotateLeft32(b+k[15]+word(x, 15)+(((d^a)&c)^a), 22)
	return a, b, c, d
}

// round2 mixes with G(b,c,d) = d ? b : c. Its halves have no bit in common, so they can be added, the
// one that does not wait for b first.
//
//go:noinline
func round2(x *[64]byte, k *[16]uint32, a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a = b + bits.RotateLeft32(a+k[0]+word(x, 1)+(c&^d)+(b&d), 5)
	d = a + bits.RotateLeft32(d+k[1]+word(x, 6)+(b&^c)+(a&c), 9)
	c = d + bits.RotateLeft32(c+k[2]+word(x, 11)+(a&^b)+(d&b), 14)
	b = c + bits.RotateLeft32(b+k[3]+word(x, 0)+(d&^a)+(c&a), 20)
	a = b + bits.RotateLeft32(a+k[4]+word(x, 5)+(c&^d)+(b&d), 5)
	d = a + bits.RotateLeft32(d+k[5]+word(x, 10)+(b&^c)+(a&c), 9)
	c = d + bits.RotateLeft32(c+k[6]+word(x, 15)+(a&^b)+(d&b), 14)
	b = c + bits.RotateLeft32(b+k[7]+word(x, 4)+(d&^a)+(c&a), 20)
	a = b + bits.RotateLeft32(a+k[8]+word(x, 9)+(c&^d)+(b&d), 5)
	d = a + bits.RotateLeft32(d+k[9]+word(x, 14)+(b&^c)+(a&c), 9)
	c = d + bits.RotateLeft32(c+k[10]+word(x, 3)+(a&^b)+(d&b), 14)
	b = c + bits.RotateLeft32(b+k[11]+word(x, 8)+(d&^a)+(c&a), 20)
	a = b + bits.RotateLeft32(a+k[12]+word(x, 13)+(c&^d)+(b&d), 5)
	d = a + bits.RotateLeft32(d+k[13]+word(x, 2)+(b&^c)+(a&c), 9)
	c = d + bits.RotateLeft32(c+k[14]+word(x, 7)+(a&^b)+(d&b), 14)
	b = c + bits.RotateLeft32(b+k[15]+word(x, 12)+(d&^a)+(c&a), 20)
	return a, b, c, d
}

// round3 mixes with H(b,c,d) = b ^ c ^ d.
//
//go:noinline
func round3(x *[64]byte, k *[16]uint32, a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a = b + bits.RotateLeft32(a+k[0]+word(x, 5)+((c^d)^b), 4)
	d = a + bits.RotateLeft32(d+k[1]+word(x, 8)+((b^c)^a), 11)
	c = d + bits.RotateLeft32(c+k[2]+word(x, 11)+((a^b)^d), 16)
	b = c + bits.RotateLeft32(b+k[3]+word(x, 14)+((d^a)^c), 23)
	a = b + bits.RotateLeft32(a+k[4]+word(x, 1)+((c^d)^b), 4)
	d = a + bits.RotateLeft32(d+k[5]+word(x, 4)+((b^c)^a), 11)
	c = d + bits.RotateLeft32(c+k[6]+word(x, 7)+((a^b)^d), 16)
	b = c + bits.RotateLeft32(b+k[7]+word(x, 10)+((d^a)^c), 23)
	a = b + bits.RotateLeft32(a+k[8]+word(x, 13)+((c^d)^b), 4)
	d = a + bits.RotateLeft32(d+k[9]+word(x, 0)+((b^c)^a), 11)
	c = d + bits.RotateLeft32(c+k[10]+word(x, 3)+((a^b)^d), 16)
	b = c + bits.RotateLeft32(b+k[11]+word(x, 6)+((d^a)^c), 23)
	a = b + bits.RotateLeft32(a+k[12]+word(x, 9)+((c^d)^b), 4)
	d = a + bits.RotateLeft32(d+k[13]+word(x, 12)+((b^c)^a), 11)
	c = d + bits.RotateLeft32(c+k[14]+word(x, 15)+((a^b)^d), 16)
	b = c + bits.RotateLeft32(b+k[15]+word(x, 2)+((d^a)^c), 23)
	return a, b, c, d
}

// round4 mixes with I(b,c,d) = c ^ (b | ^d).
//
//go:noinline
func round4(x *[64]byte, k *[16]uint32, a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a = b + bits.RotateLeft32(a+k[0]+word(x, 0)+(c^(b|^d)), 6)
	d = a + bits.RotateLeft32(d+k[1]+word(x, 7)+(b^(a|^c)), 10)
	c = d + bits.RotateLeft32(c+k[2]+word(x, 14)+(a^(d|^b)), 15)
	b = c + bits.RotateLeft32(b+k[3]+word(x, 5)+(d^(c|^a)), 21)
	a = b + bits.RotateLeft32(a+k[4]+word(x, 12)+(c^(b|^d)), 6)
	d = a + bits.RotateLeft32(d+k[5]+word(x, 3)+(b^(a|^c)), 10)
	c = d + bits.RotateLeft32(c+k[6]+word(x, 10)+(a^(d|^b)), 15)
	b = c + bits.RotateLeft32(b+k[7]+word(x, 1)+(d^(c|^a)), 21)
	a = b + bits.RotateLeft32(a+k[8]+word(x, 8)+(c^(b|^d)), 6)
	d = a + bits.RotateLeft32(d+k[9]+word(x, 15)+(b^(a|^c)), 10)
	c = d + bits.RotateLeft32(c+k[10]+word(x, 6)+(a^(d|^b)), 15)
	b = c + bits.RotateLeft32(b+k[11]+word(x, 13)+(d^(c|^a)), 21)
	a = b + bits.RotateLeft32(a+k[12]+word(x, 4)+(c^(b|^d)), 6)
	d = a + bits.RotateLeft32(d+k[13]+word(x, 11)+(b^(a|^c)), 10)
	c = d + bits.RotateLeft32(c+k[14]+word(x, 2)+(a^(d|^b)), 15)
	b = c + bits.RotateLeft32(b+k[15]+word(x, 9)+(d^(c|^a)), 21)
	return a, b, c, d
}
