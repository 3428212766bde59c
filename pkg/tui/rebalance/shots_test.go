package rebalance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThePageShowsTheScreen keeps docs/rebalance-tui.md as the golden files are.
func TestThePageShowsTheScreen(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Written by the tests of pkg/tui/rebalance with -update; do not edit. -->

# The screen of a rebalance

` + "`kubectl cell rebalance`" + ` shows a run on a screen where standard input and output are terminals; ` + "`--tui=never`" + ` and
everything else get one line for each change, ` + "`-o json`" + ` one JSON object. Both are made of the same events.
Smaller terminals than 80×20 get a view without a frame. After the screen a summary stays on the terminal.
`)
	for _, shot := range []struct{ name, text string }{
		{"moving-80x24", "A run at work, 80×24. A router has not acknowledged, one cell is slow, another one does not answer."},
		{"quit-80x24", "Ctrl-C or q asks what becomes of the run."},
		{"details-80x24", "Enter shows everything about a failure."},
		{"help-80x24", "The keys."},
		{"moving-160x50", "The same run, 160×50."},
		{"moving-60x15", "The compact view, 60×15."},
	} {
		golden, err := os.ReadFile(filepath.Join("testdata", shot.name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n%s\n\n```text\n%s```\n", shot.text, golden)
	}
	compare(t, filepath.Join("..", "..", "..", "docs", "rebalance-tui.md"), b.String())
}
