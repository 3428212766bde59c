package placement

import (
	"crypto/md5"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHashIsMD5 compares with crypto/md5 for every length around the ends of the block and of the
// buffer, with and without a head.
func TestHashIsMD5(t *testing.T) {
	t.Parallel()
	k := newSines()
	rng := rand.New(rand.NewPCG(4, 0))
	for length := range 2 * inlineKey {
		for range 20 {
			text := make([]byte, length)
			for i := range text {
				text[i] = byte(rng.UintN(256))
			}
			if got, want := k.hashKey("", string(text)), newHash(md5.Sum(text)); got != want {
				t.Fatalf("hash of %q is %x, want %x", text, got, want)
			}
			cut := rng.IntN(length + 1)
			head, tail := "h"+string(text[:cut]), string(text[cut:])
			if got, want := k.hashKey(head, tail), newHash(md5.Sum([]byte(head+"/"+tail))); got != want {
				t.Fatalf("hash of %q / %q is %x, want %x", head, tail, got, want)
			}
		}
	}
}

func TestHashPointIsMD5(t *testing.T) {
	t.Parallel()
	k := newSines()
	for length := 1; length <= MaxCellNameLength; length++ {
		cell := strings.Repeat("c", length)
		for index, suffix := range map[int]string{0: "-0", 9: "-9", 117: "-117", 99999: "-99999", 999999: "-999999"} {
			if got, want := k.hashPoint(cell, index), newHash(md5.Sum([]byte(cell+suffix))); got != want {
				t.Fatalf("hash of %s%s is %x, want %x", cell, suffix, got, want)
			}
		}
	}
}

func TestHashDigestRoundTrip(t *testing.T) {
	t.Parallel()
	digest := md5.Sum([]byte("ns/app"))
	if got := newHash(digest).digest(); got != digest {
		t.Fatalf("digest() = %x, want %x", got, digest)
	}
}

func FuzzHash(f *testing.F) {
	f.Add("ns", "app")
	f.Add("", "")
	f.Add("ns", strings.Repeat("x", oneBlock-3))
	f.Add("ns", strings.Repeat("x", oneBlock-2))
	k := newSines()
	f.Fuzz(func(t *testing.T, head, tail string) {
		key := tail
		if head != "" {
			key = head + "/" + tail
		}
		if got, want := k.hashKey(head, tail), newHash(md5.Sum([]byte(key))); got != want {
			t.Fatalf("hash of %q / %q is %x, want %x", head, tail, got, want)
		}
	})
}
