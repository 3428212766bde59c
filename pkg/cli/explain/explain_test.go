package explain

import (
	"slices"
	"strings"
	"testing"
)

// Every word can be found by one name only, and leads to others that exist.
func TestConceptsAreConsistent(t *testing.T) {
	var names, words []string
	for _, c := range concepts() {
		names = append(names, c.name)
		words = append(append(words, c.name), c.aliases...)
	}
	for i, word := range words {
		if slices.Contains(words[:i], word) {
			t.Errorf("%q leads to two concepts", word)
		}
		if word != strings.ToLower(word) {
			t.Errorf("%q is not in lower case and cannot be found", word)
		}
	}
	for _, c := range concepts() {
		for _, other := range c.see {
			if !slices.Contains(names, other) || other == c.name {
				t.Errorf("%s: see %q, which is no other concept", c.name, other)
			}
		}
		for line := range strings.Lines(c.text) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
				t.Errorf("%s: a line of %d characters does not fit on a terminal: %s", c.name, n, line)
			}
		}
	}
}
