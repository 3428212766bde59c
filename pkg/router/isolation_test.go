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
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// endpoints gives a cell other endpoints until the test ends. The router follows a moment later.
func (b *bed) endpoints(t testing.TB, cell string, endpoints ...string) {
	t.Helper()
	b.setEndpoints(t.Context(), t, cell, endpoints)
	t.Cleanup(func() { b.setEndpoints(context.Background(), t, cell, nil) })
}

// gate puts a gate between the router and a cell, of which maps has an object with this name.
func (b *bed) gate(t testing.TB, cell string, maps typedcorev1.ConfigMapInterface, name string) *sandboxtest.Gate {
	t.Helper()
	gate := sandboxtest.NewGate(t, b.cells[cell].Host)
	gate.Refuse()
	b.endpoints(t, cell, gate.URL())
	until(t, "the router goes through the gate", func(ctx context.Context) bool {
		_, err := maps.Get(ctx, name, getOptions())
		return named503(err, cell)
	})
	gate.Pass()
	until(t, "the cell is back", answered(maps, name))
	return gate
}

func answered(maps typedcorev1.ConfigMapInterface, name string) func(ctx context.Context) bool {
	return func(ctx context.Context) bool {
		_, err := maps.Get(ctx, name, getOptions())
		return err == nil
	}
}

// oneOfEach makes objects until there is one in every cell, and returns their names.
func (b *bed) oneOfEach(t *testing.T, ns string) map[string]string {
	t.Helper()
	snap := b.snapshot(t)
	out := map[string]string{}
	for _, name := range b.fill(t, ns, 12) {
		p, _ := snap.Table.LookupKey(ns + "/" + name)
		out[p.Old()] = name
	}
	if len(out) != len(b.cells) {
		t.Fatalf("objects in %v only", out)
	}
	return out
}

// until asks again and again, and fails the test where the answer never comes.
func until(t testing.TB, what string, condition func(ctx context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		return condition(ctx), nil
	})
	if err != nil {
		t.Fatalf("never: %s", what)
	}
}

// named503 says whether err is the refusal for a cell that cannot be used.
func named503(err error, cell string) bool {
	return apierrors.IsServiceUnavailable(err) && strings.Contains(err.Error(), cell)
}

// others asks for the objects of all other cells; none of them may fail.
func others(t *testing.T, maps typedcorev1.ConfigMapInterface, names map[string]string, but string) {
	t.Helper()
	for cell, name := range names {
		if cell == but {
			continue
		}
		start := time.Now()
		if _, err := maps.Get(t.Context(), name, getOptions()); err != nil {
			t.Errorf("%s lives in %s: %v after %s", name, cell, err, time.Since(start))
		}
		if _, err := maps.Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"data":{"t":"`+start.String()+`"}}`), metav1.PatchOptions{}); err != nil {
			t.Errorf("%s lives in %s: %v after %s", name, cell, err, time.Since(start))
		}
	}
}

// TestAHungCellHoldsUpNothingElse: it accepts, never answers, and comes back; then it flaps.
func TestAHungCellHoldsUpNothingElse(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "hung")
	names := b.oneOfEach(t, ns)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	gate := b.gate(t, "cell-2", maps, names["cell-2"])

	gate.Hang()
	cutOff := make(chan error, 20)
	for range cap(cutOff) {
		go func() {
			_, err := maps.Get(t.Context(), names["cell-2"], getOptions())
			cutOff <- err
		}()
	}
	for range cap(cutOff) {
		others(t, maps, names, "cell-2")
		if err := <-cutOff; !named503(err, "cell-2") {
			t.Errorf("in flight: %v; want 503 that names cell-2", err)
		}
	}
	start := time.Now()
	if _, err := maps.Get(t.Context(), names["cell-2"], getOptions()); !named503(err, "cell-2") {
		t.Errorf("given up: %v; want 503 that names cell-2", err)
	}
	if took := time.Since(start); took > 3*time.Second { // one that hangs takes six
		t.Errorf("given up, the refusal took %s", took)
	}

	for range 4 {
		gate.Pass()
		others(t, maps, names, "cell-2")
		gate.Refuse()
		others(t, maps, names, "cell-2")
	}
	gate.Pass()
	until(t, "the cell is back after flapping", answered(maps, names["cell-2"]))
}

// TestNobodyWaitsForAHungCellButItsOwn: while many requests hang, those for other cells are answered before the first of them
// is given up.
func TestNobodyWaitsForAHungCellButItsOwn(t *testing.T) {
	const hanging, rounds = 100, 5
	b := newBed(t)
	ns := b.namespace(t, "waiting")
	names := b.oneOfEach(t, ns)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	gate := b.gate(t, "cell-2", maps, names["cell-2"])
	gate.Hang()
	answers := make(chan error, hanging)
	for range hanging {
		go func() {
			_, err := maps.Get(t.Context(), names["cell-2"], getOptions())
			answers <- err
		}()
	}
	before := map[string]int{} // how many were answered before any of those
	for len(answers) < hanging {
		for _, cell := range []string{"cell-1", "cell-3"} {
			if _, err := maps.Get(t.Context(), names[cell], getOptions()); err != nil {
				t.Errorf("get from %s: %v", cell, err)
			}
			if len(answers) == 0 {
				before[cell]++
			}
		}
	}
	for range hanging {
		if err := <-answers; !named503(err, "cell-2") {
			t.Errorf("get from the hung cell: %v; want 503 that names it", err)
		}
	}
	if before["cell-1"] < rounds || before["cell-3"] < rounds {
		t.Errorf("answered before a request for the hung cell was given up: %v; want %d of each cell", before, rounds)
	}
}

// TestAWrongCertificateHarmsItsOwnKeysOnly: somebody else answers at the cell's address.
func TestAWrongCertificateHarmsItsOwnKeysOnly(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "certificate")
	names := b.oneOfEach(t, ns)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	b.endpoints(t, "cell-2", b.cells["cell-3"].Host)
	until(t, "the refusal says why", func(ctx context.Context) bool {
		_, err := maps.Get(ctx, names["cell-2"], getOptions())
		return named503(err, "cell-2") && strings.Contains(err.Error(), "certificate")
	})
	others(t, maps, names, "cell-2")
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: names["cell-2"]}}, metav1.CreateOptions{})
	if !named503(err, "cell-2") {
		t.Errorf("create: %v; want 503 that names cell-2", err)
	}
}

// TestWithOneEndpointDownNoRequestFails: clients see nothing of it, from the first request on.
func TestWithOneEndpointDownNoRequestFails(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "endpoints")
	names := b.oneOfEach(t, ns)
	gate := sandboxtest.NewGate(t, b.cells["cell-2"].Host)
	b.endpoints(t, "cell-2", gate.URL(), b.cells["cell-2"].Host)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	until(t, "the router goes through the gate", func(context.Context) bool { return gate.Accepted() > 0 })
	for i := range 40 {
		if i == 10 {
			gate.Refuse()
		}
		if _, err := maps.Get(t.Context(), names["cell-2"], getOptions()); err != nil {
			t.Errorf("read %d: %v", i, err)
		}
		if i == 10 {
			// A write that was in flight when the endpoint died could not be told from one that was done.
			continue
		}
		if _, err := maps.Patch(t.Context(), names["cell-2"], "application/merge-patch+json", []byte(`{"data":{"k":"v"}}`), metav1.PatchOptions{}); err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
}

// TestARefusedUserIsTheClientsBusiness: what a cell forbids is no failure of the cell.
func TestARefusedUserIsTheClientsBusiness(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "refused")
	config := rest.CopyConfig(b.router)
	config.Impersonate.UserName = "nobody-special"
	for range 3 {
		if _, err := kube(t, config).CoreV1().ConfigMaps(ns).Get(t.Context(), "x", getOptions()); !apierrors.IsForbidden(err) {
			t.Errorf("get: %v; want forbidden", err)
		}
	}
	if code, _ := get(t, b.router, "/api/v1/namespaces/"+ns+"/configmaps/x", ""); code != http.StatusNotFound {
		t.Errorf("afterwards: %d; want 404", code)
	}
}
