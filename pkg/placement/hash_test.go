package placement

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// TestHashVectors are published values of xxHash64 with seed 0: an upgrade of the library must not
// change them.
func TestHashVectors(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]hash{
		"":    0xef46db3751d8e999,
		"a":   0xd24ec4f1a98c6e5b,
		"abc": 0x44bc2cf5ad770999,
		"Nobody inspects the spammish repetition": 0xfbcea83c8a378bf1,
	} {
		if got := hashKey("", key); got != want {
			t.Errorf("hash of %q is %x, want %x", key, got, want)
		}
	}
}

// TestHashOfParts compares with the hash of the joined key for every length around the end of
// the buffer.
func TestHashOfParts(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 0))
	for length := range 2 * inlineKey {
		text := make([]byte, length)
		for i := range text {
			text[i] = byte(rng.UintN(256))
		}
		if got, want := hashKey("", string(text)), hash(xxhash.Sum64(text)); got != want {
			t.Fatalf("hash of %q is %x, want %x", text, got, want)
		}
		cut := rng.IntN(length + 1)
		head, tail := "h"+string(text[:cut]), string(text[cut:])
		if got, want := hashKey(head, tail), hash(xxhash.Sum64String(head+"/"+tail)); got != want {
			t.Fatalf("hash of %q / %q is %x, want %x", head, tail, got, want)
		}
	}
}

func TestHashPoint(t *testing.T) {
	t.Parallel()
	for length := 1; length <= MaxCellNameLength; length++ {
		cell := strings.Repeat("c", length)
		for index, suffix := range map[int]string{0: "-0", 9: "-9", 117: "-117", 99999: "-99999", 999999: "-999999"} {
			if got, want := hashPoint(cell, index), hash(xxhash.Sum64String(cell+suffix)); got != want {
				t.Fatalf("hash of %s%s is %x, want %x", cell, suffix, got, want)
			}
		}
	}
}

func FuzzHash(f *testing.F) {
	f.Add("ns", "app")
	f.Add("", "")
	f.Add("ns", strings.Repeat("x", inlineKey-3))
	f.Add("ns", strings.Repeat("x", inlineKey-2))
	f.Fuzz(func(t *testing.T, head, tail string) {
		key := tail
		if head != "" {
			key = head + "/" + tail
		}
		if got, want := hashKey(head, tail), hash(xxhash.Sum64String(key)); got != want {
			t.Fatalf("hash of %q / %q is %x, want %x", head, tail, got, want)
		}
	})
}
