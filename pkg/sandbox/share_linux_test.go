package sandbox_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// TestControlPlanesShareTheMachine: each uses its share of the processors, unless somebody has said otherwise.
func TestControlPlanesShareTheMachine(t *testing.T) {
	cells := federation.Sandbox(t).Status(t).Cells
	want := os.Getenv("GOMAXPROCS")
	if want == "" {
		want = fmt.Sprint(sandbox.Share(len(cells) + 1))
	}
	for _, cell := range cells {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cell.PID))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(strings.Split(string(environ), "\x00"), "GOMAXPROCS="+want) {
			t.Errorf("%s does not run with GOMAXPROCS=%s", cell.Name, want)
		}
	}
}
