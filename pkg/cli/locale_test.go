package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestLocaleOfTheProgram runs the program itself: its standard output and error are files, those of the scripts are not.
func TestLocaleOfTheProgram(t *testing.T) {
	_, binary, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"a text and a table": {"simulate", "--cells", "3", "--workloads", "1000", "--drain", "cell-3", "-o", "wide"},
		"help":               {"where", "--help"},
		"an explanation":     {"explain", "ring"},
	} {
		t.Run(name, func(t *testing.T) {
			for locale, symbols := range map[string]bool{"C.UTF-8": true, "C": false} {
				cmd := exec.CommandContext(t.Context(), binary, args...)
				cmd.Env = append(os.Environ(), "LC_ALL="+locale)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if got := !isASCII(string(out)); got != symbols {
					t.Errorf("in the locale %s there are symbols: %v; want %v\n%s", locale, got, symbols, out)
				}
			}
		})
	}
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 127 })
}
