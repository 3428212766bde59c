package printers

import (
	"math"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 10_000_000: "10,000,000", -1234: "-1,234",
		math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for share, want := range map[float64]string{0: "0.0%", 0.168: "16.8%", 1: "100.0%", -0.05: "-5.0%"} {
		if got := Percent(share); got != want {
			t.Errorf("Percent(%v) = %s, want %s", share, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-5 * time.Hour: "0s", 0: "0s", 41 * time.Second: "41s", 302 * time.Second: "5m2s", 80 * time.Hour: "3d8h", 1 << 62: "146y",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestTook(t *testing.T) {
	began := time.Date(2026, 3, 7, 11, 0, 0, 0, time.UTC)
	for took, want := range map[time.Duration]string{-time.Hour: "0s", 0: "0s", 1600 * time.Millisecond: "2s", 3 * time.Hour: "3h0m0s"} {
		if got := Took(began, began.Add(took)); got != want {
			t.Errorf("what ended %s after it began took %q, want %q", took, got, want)
		}
	}
}
