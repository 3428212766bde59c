package sandbox_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func wanted(t *testing.T, s *sandboxtest.Sandbox) []string {
	t.Helper()
	c, err := client.New(s.RCP(t))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, member := range ring.Spec.Members {
		names = append(names, member.Cell)
	}
	slices.Sort(names)
	return names
}

func TestCellAddAndRemove(t *testing.T) {
	s := federation.Sandbox(t)
	report, err := s.Manager.CellAdd(t.Context(), s.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	if report.Cell != "cell-3" || !report.Changed {
		t.Errorf("add: %+v, want cell-3, changed", report)
	}
	if got := wanted(t, s); !slices.Equal(got, []string{"cell-1", "cell-2", "cell-3"}) {
		t.Errorf("wanted ring is %v", got)
	}
	if _, err := kube(t, s.Cell(t, "cell-3")).Discovery().ServerVersion(); err != nil {
		t.Errorf("context of the new cell: %v", err)
	}
	again, err := s.Manager.CellAdd(t.Context(), s.Name, "cell-3")
	if err != nil || again.Changed {
		t.Errorf("second add: %+v, %v; want nothing to do", again, err)
	}

	before := s.Status(t)
	removed, err := s.Manager.CellRemove(t.Context(), s.Name, "cell-3")
	if err != nil || !removed.Changed {
		t.Fatalf("remove: %+v, %v", removed, err)
	}
	if got := wanted(t, s); !slices.Equal(got, []string{"cell-1", "cell-2"}) {
		t.Errorf("wanted ring is %v", got)
	}
	awaitGone(t, before.Cells[2].PID)
	if got := len(s.Status(t).Cells); got != 2 {
		t.Errorf("%d cells are left, want 2", got)
	}
	again, err = s.Manager.CellRemove(t.Context(), s.Name, "cell-3")
	if err != nil || again.Changed {
		t.Errorf("second remove: %+v, %v; want nothing to do", again, err)
	}
}

func TestCellOfTheRingIsNotRemoved(t *testing.T) {
	s := federation.Sandbox(t)
	_, err := s.Manager.CellRemove(t.Context(), s.Name, "cell-1")
	if exit.CodeOf(err) != exit.Refused {
		t.Errorf("remove of cell-1: %v, want a refusal", err)
	}
	if got := s.Status(t); got.CellsUp != 2 {
		t.Errorf("%d cells are up, want 2", got.CellsUp)
	}
}

func TestCellNames(t *testing.T) {
	s := federation.Sandbox(t)
	for _, name := range []string{"rcp", "router", "backup", "logs", "Cell", "a.b", "-x"} {
		if _, err := s.Manager.CellAdd(t.Context(), s.Name, name); exit.CodeOf(err) != exit.Usage {
			t.Errorf("add %q: %v, want a usage error", name, err)
		}
	}
	if _, err := s.Manager.CellAdd(t.Context(), "nowhere", ""); exit.CodeOf(err) != exit.Failure {
		t.Errorf("add to a sandbox that is not there: %v", err)
	}
}
