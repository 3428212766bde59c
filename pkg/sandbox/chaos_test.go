package sandbox_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func chaos(t *testing.T, s *sandboxtest.Sandbox, cell string, fault sandbox.Fault, changed bool) {
	t.Helper()
	report, err := s.Manager.Chaos(t.Context(), s.Name, cell, fault)
	if err != nil || report.Changed != changed {
		t.Fatalf("%s %s: %+v, %v; want changed %v", fault, cell, report, err, changed)
	}
}

// ask lists what is in one cell, through the router's own path for it or directly.
func ask(t *testing.T, config *rest.Config, path string) error {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Host += path
	config.Timeout = 5 * time.Second
	_, err := kube(t, config).CoreV1().ConfigMaps(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	return err
}

// TestChaos: each fault shows through the router in its own way, and what undoes it brings the cell back.
func TestChaos(t *testing.T) {
	s := federation.Sandbox(t)
	const through = "/cells/cell-2"
	serves := func(_ context.Context) (bool, error) { return ask(t, s.Router(t), through) == nil, nil }
	fails := func(_ context.Context) (bool, error) { return ask(t, s.Router(t), through) != nil, nil }
	await(t, "cell-2 serves", serves)

	chaos(t, s, "cell-2", sandbox.Partition, true)
	await(t, "the router does not reach the partitioned cell", fails)
	if err := ask(t, s.Cell(t, "cell-2"), ""); err != nil {
		t.Errorf("directly: %v; a partitioned cell runs on", err)
	}
	chaos(t, s, "cell-2", sandbox.Partition, false)
	chaos(t, s, "cell-2", sandbox.Resume, true)
	await(t, "the partition has ended", serves)

	chaos(t, s, "cell-2", sandbox.Pause, true)
	if err := ask(t, s.Cell(t, "cell-2"), ""); err == nil || apierrors.IsForbidden(err) {
		t.Errorf("a paused cell answered: %v", err)
	}
	chaos(t, s, "cell-2", sandbox.Resume, true)
	await(t, "the paused cell goes on", serves)

	chaos(t, s, "cell-2", sandbox.Kill, true)
	if got := s.Status(t); got.CellsUp != 1 || got.State != sandbox.Degraded {
		t.Errorf("%d cells are up, the sandbox is %s", got.CellsUp, got.State)
	}
	if err := ask(t, s.Router(t), through); !unavailable(err) {
		t.Errorf("through the router: %v, want 503", err)
	}
	chaos(t, s, "cell-2", sandbox.Restart, true)
	await(t, "the killed cell serves", serves)
	if got := s.Status(t); got.CellsUp != 2 || got.State != sandbox.Up {
		t.Errorf("%d cells are up, the sandbox is %s", got.CellsUp, got.State)
	}
}

func unavailable(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == http.StatusServiceUnavailable
}

func TestChaosIsForSandboxes(t *testing.T) {
	s := federation.Sandbox(t)
	for name, cell := range map[string]string{"prod": "cell-1", s.Name: "cell-9"} {
		if _, err := s.Manager.Chaos(t.Context(), name, cell, sandbox.Kill); exit.CodeOf(err) != exit.Refused {
			t.Errorf("kill %s of %s: %v, want a refusal", cell, name, err)
		}
	}
	if of := s.Manager.SandboxOf(s.Name + "-cell-1"); of != s.Name {
		t.Errorf("the context of a cell belongs to %q", of)
	}
	if of := s.Manager.SandboxOf("work"); of != "" {
		t.Errorf("a stranger's context belongs to %q", of)
	}
}
