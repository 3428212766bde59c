package suggest

import "testing"

func TestClosest(t *testing.T) {
	candidates := []string{"ring", "cell", "key", "backup", "rebalance-status"}
	for word, want := range map[string]string{
		"rign":       "ring",
		"Ring":       "ring",
		"cells":      "cell",
		"bakup":      "backup",
		"rebalance":  "rebalance-status",
		"k":          "key",
		"zebra":      "",
		"":           "",
		"completely": "",
	} {
		if got := Closest(word, candidates); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}
