package router_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// event makes a Local object in a cell, directly.
func (b *bed) event(t *testing.T, cell, ns, name string) {
	t.Helper()
	_, err := kube(t, b.cells[cell]).CoreV1().Events(ns).Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: name}, InvolvedObject: corev1.ObjectReference{Namespace: ns, Kind: "Pod", Name: "p"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAHungCellHoldsUpNoObjectOfAnother asks for objects that may be in any cell, while one hangs.
func TestAHungCellHoldsUpNoObjectOfAnother(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "findhung")
	names := b.oneOfEach(t, ns)
	b.event(t, "cell-1", ns, "one")
	b.event(t, "cell-1", ns, "both")
	b.event(t, "cell-3", ns, "both")
	client := kube(t, impatient(b.router)).CoreV1()
	gate := b.gate(t, "cell-2", client.ConfigMaps(ns), names["cell-2"])
	gate.Hang()
	nobodys := make(chan error, 1)
	var givenUp time.Duration // is there once nobodys is
	start := time.Now()
	go func() {
		_, err := client.Events(ns).Get(t.Context(), "nobodys", getOptions())
		givenUp = time.Since(start)
		nobodys <- err
	}()
	if _, err := client.Events(ns).Get(t.Context(), "one", getOptions()); err != nil {
		t.Errorf("in cell-1: %v", err)
	}
	took := time.Since(start)
	// A second cell that answers much later than the first is not waited for.
	until(t, "a name in two cells is a conflict that names them", func(ctx context.Context) bool {
		_, err := client.Events(ns).Get(ctx, "both", getOptions())
		return apierrors.IsConflict(err) && strings.Contains(err.Error(), "cell-1, cell-3")
	})
	if err := <-nobodys; !named503(err, "cell-2") {
		t.Errorf("in no cell that answers: %v; want 503 that names cell-2", err)
	}
	if took > givenUp/2 {
		t.Errorf("in cell-1: after %s; the hung cell was given up after %s", took, givenUp)
	}
	gate.Pass()
	until(t, "the cell is back", answered(client.ConfigMaps(ns), names["cell-2"]))
	if _, err := client.Events(ns).Get(t.Context(), "nobodys", getOptions()); !apierrors.IsNotFound(err) {
		t.Errorf("in no cell: %v; want not found", err)
	}
}

// TestAHeadOfAListIsRefusedAsByAnAPIServer: it lists nothing.
func TestAHeadOfAListIsRefusedAsByAnAPIServer(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "head")
	name := b.fill(t, ns, 1)[0]
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, path := range []string{path, path + "?watch=1", "/api/v1/configmaps", path + "/" + name} {
		through, _ := b.send(t, http.MethodHead, path, "", "")
		direct, _ := (&bed{router: b.cells["cell-1"]}).send(t, http.MethodHead, path, "", "")
		if through != http.StatusMethodNotAllowed || through != direct {
			t.Errorf("HEAD %s: %d; the cell says %d, want 405", path, through, direct)
		}
	}
}

// TestAHeadNeedsNoRCP: the cell that has the object answers it, and the one that a raw request names.
func TestAHeadNeedsNoRCP(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "headrcp")
	name := b.fill(t, ns, 1)[0]
	gate := sandboxtest.NewGate(t, b.rcp.Host)
	through := rest.CopyConfig(b.rcp)
	through.Host = gate.URL()
	cut := &bed{router: impatient(runRouter(t, through, t.TempDir()))}
	path := "/api/v1/namespaces/" + ns + "/configmaps/" + name
	until(t, "the router serves", answered(kube(t, cut.router).CoreV1().ConfigMaps(ns), name))
	gate.Hang()
	defer gate.Pass()
	for _, path := range []string{path, "/cells/cell-1" + path} {
		if code, body := cut.send(t, http.MethodHead, path, "", ""); code != http.StatusMethodNotAllowed {
			t.Errorf("HEAD %s: %d %s; want 405, as a cell says", path, code, body)
		}
	}
}
