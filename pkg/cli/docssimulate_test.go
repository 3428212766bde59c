package cli_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSimulationsInDocuments wants each simulation that docs/capacity.md shows to print what it shows, but for the time that
// it took. The names of the workloads follow from a seed.
func TestSimulationsInDocuments(t *testing.T) {
	page, err := os.ReadFile("../../docs/capacity.md")
	if err != nil {
		t.Fatal(err)
	}
	took := regexp.MustCompile(`(?m)( workloads · .+ cells) · \d+\.\ds$`)
	shown := regexp.MustCompile("(?m)^```console\n\\$ (kubectl cell simulate .+)\n((?:[^`].*\n)+)```$").FindAllStringSubmatch(string(page), -1)
	if len(shown) < 4 {
		t.Errorf("found %d simulations", len(shown))
	}
	for _, block := range shown {
		lines, err := commandLines(block[1])
		if err != nil || len(lines) != 1 {
			t.Fatalf("%s: %d commands, error %v", block[1], len(lines), err)
		}
		said, prints := took.ReplaceAllString(block[2], "$1"), took.ReplaceAllString(output(t, lines[0]...), "$1")
		if diff := cmp.Diff(said, prints); diff != "" {
			t.Errorf("docs/capacity.md, %s (-said +prints):\n%s", block[1], diff)
		}
	}
}
