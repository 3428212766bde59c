package router_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// breakCell points a Cell at a port where nothing listens until the test ends.
func (b *bed) breakCell(t *testing.T, name string) {
	t.Helper()
	b.setEndpoints(t.Context(), t, name, []string{deadServer(t)})
	t.Cleanup(func() { b.setEndpoints(context.Background(), t, name, nil) })
}

func (b *bed) setEndpoints(ctx context.Context, t testing.TB, name string, endpoints []string) {
	t.Helper()
	c, err := client.New(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	cell, err := c.Cells().Get(ctx, name, getOptions())
	if err != nil {
		t.Fatal(err)
	}
	cell.Spec.Endpoints = endpoints
	if _, err := c.Cells().Update(ctx, cell, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestADeadCellHarmsItsOwnKeysOnly(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "deadcell")
	names := b.fill(t, ns, 12)
	snap := b.snapshot(t)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	b.breakCell(t, "cell-2")
	var ofDead string
	for _, name := range names {
		if p, _ := snap.Table.LookupKey(ns + "/" + name); p.Old() == "cell-2" {
			ofDead = name
		}
	}
	// The router follows the Cell object; from the moment it has, every key is judged alone.
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := maps.Get(ctx, ofDead, getOptions())
		return err != nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p, _ := snap.Table.LookupKey(ns + "/" + name)
		_, err := maps.Get(t.Context(), name, getOptions())
		if p.Old() != "cell-2" && err != nil {
			t.Errorf("%s lives in %s: %v", name, p.Old(), err)
		}
		if p.Old() == "cell-2" && (!apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "cell-2")) {
			t.Errorf("%s lives in cell-2: %v; want 503 that names it", name, err)
		}
	}
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "cell-2") {
		t.Errorf("list: %v; want 503 that names cell-2, never a short list", err)
	}
	b.wantWarning(t, "cell-2")
}

// impatient is a client that does not repeat what it was asked to repeat later.
func impatient(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := rt.RoundTrip(r)
			if err == nil {
				answer.Header.Del("Retry-After")
			}
			return answer, err
		})
	})
	return config
}

// wantWarning makes a replicated object while one cell is away: it stands, and the client is told.
func (b *bed) wantWarning(t *testing.T, cell string) {
	t.Helper()
	config := rest.CopyConfig(b.router)
	var warnings warningRecorder
	config.WarningHandler = &warnings
	_, err := kube(t, config).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "while-away"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(warnings, "; "); !strings.Contains(text, "cell "+cell+" is not up to date") {
		t.Errorf("warnings = %q; want one that names %s", text, cell)
	}
}

type warningRecorder []string

func (w *warningRecorder) HandleWarningHeader(_ int, _, text string) { *w = append(*w, text) }

// TestARouterStartsWithoutTheRCP restarts one from what an earlier one saved.
func TestARouterStartsWithoutTheRCP(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := newBedBeside(t)
	ns := b.namespace(t, "norcp")
	names := b.fill(t, ns, 6)
	stopped := t.TempDir()
	_, stop := startRouter(t, b.rcp, stopped)
	stop()
	t.Run("after a crash", func(t *testing.T) {
		t.Parallel() // each waits for an RCP that does not answer
		gone := rest.CopyConfig(b.rcp)
		gone.Host = deadServer(t)
		config := impatient(runRouter(t, gone, b.stateDir))
		wantReads(t, config, ns, names)
		wantDiscovery(t, config)
		if _, err := kube(t, config).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "crashed"}}, metav1.CreateOptions{}); err != nil {
			t.Errorf("a write, while the Lease stands: %v", err)
		}
	})
	// Nobody has waited since for a router that gave its Lease up.
	t.Run("after a stop", func(t *testing.T) {
		t.Parallel()
		gate := sandboxtest.NewGate(t, b.rcp.Host)
		gate.Hang()
		through := rest.CopyConfig(b.rcp)
		through.Host = gate.URL()
		config := impatient(runRouter(t, through, stopped))
		wantReads(t, config, ns, names)
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stopped"}}, metav1.CreateOptions{})
		if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "not registered") {
			t.Errorf("a write by a configuration that may be old: %v; want 503 that says why", err)
		}
		gate.Pass()
		until(t, "a write succeeds once the router has registered", func(ctx context.Context) bool {
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "stopped"}}, metav1.CreateOptions{})
			return err == nil
		})
	})
}

// deadServer is a URL at which nothing listens.
func deadServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return "https://" + listener.Addr().String()
}

// wantReads reads what is in the cells, and a namespace, which is in the RCP.
func wantReads(t *testing.T, config *rest.Config, ns string, names []string) {
	t.Helper()
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	for _, name := range names {
		if _, err := maps.Get(t.Context(), name, getOptions()); err != nil {
			t.Errorf("get %s: %v", name, err)
		}
	}
	list, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity"})
	if err != nil || len(list.Items) != len(names) {
		t.Errorf("list: %d, %v; want %d", len(list.Items), err, len(names))
	}
	_, err = kube(t, config).CoreV1().Namespaces().Get(t.Context(), ns, getOptions())
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "router control plane") {
		t.Errorf("a namespace: %v; want 503 that names the RCP", err)
	}
}

// wantDiscovery asks what a client does that knows nothing of the API yet: it learns it from a cell.
func wantDiscovery(t *testing.T, config *rest.Config) {
	t.Helper()
	api := kube(t, config).Discovery()
	if lists, err := api.ServerPreferredResources(); err != nil || len(lists) == 0 {
		t.Errorf("discovery: %d groups, %v", len(lists), err)
	}
	if paths, err := api.OpenAPIV3().Paths(); err != nil || paths["api/v1"] == nil {
		t.Errorf("OpenAPI: %d paths, %v; want api/v1 among them", len(paths), err)
	}
	if _, err := api.ServerVersion(); err != nil {
		t.Errorf("version: %v", err)
	}
}

func TestBadRequestsAreRefusedAsTheAPIServerDoes(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "bad")
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	tests := map[string]struct {
		method, path, contentType string
		body                      []byte
		want                      int
	}{
		"body too large":        {http.MethodPost, path, "application/json", bytes.Repeat([]byte("x"), 3<<20+1), http.StatusRequestEntityTooLarge},
		"broken JSON":           {http.MethodPost, path, "application/json", []byte("{"), http.StatusBadRequest},
		"CBOR":                  {http.MethodPost, path, "application/cbor", []byte{0xa0}, http.StatusUnsupportedMediaType},
		"no name":               {http.MethodPost, path, "application/json", []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}`), http.StatusUnprocessableEntity},
		"wrong namespace":       {http.MethodPost, path, "application/json", []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"other"}}`), http.StatusBadRequest},
		"unknown resource":      {http.MethodGet, "/api/v1/namespaces/" + ns + "/nonsense", "", nil, http.StatusNotFound},
		"unknown method":        {"BREW", path, "", nil, http.StatusMethodNotAllowed},
		"bad selector":          {http.MethodGet, path + "?labelSelector=%3D%3D", "", nil, http.StatusBadRequest},
		"namespace is missing":  {http.MethodPost, "/api/v1/namespaces/missing/configmaps", "application/json", []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}`), http.StatusNotFound},
		"nothing at this path":  {http.MethodGet, "/no/such/path", "", nil, http.StatusNotFound},
		"dots in the path":      {http.MethodGet, "/api/v1/namespaces/" + ns + "/../../../../etc/passwd", "", nil, http.StatusNotFound},
		"patch of wrong type":   {http.MethodPatch, path + "/x", "application/json", []byte(`{}`), http.StatusUnsupportedMediaType},
		"a cell without a name": {http.MethodGet, "/cells/", "", nil, http.StatusNotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, b.router.Host+test.path, bytes.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", test.contentType)
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != test.want {
				t.Errorf("%s %s = %d %s; want %d", test.method, test.path, answer.StatusCode, firstLine(body), test.want)
			}
		})
	}
}

func firstLine(body []byte) string {
	line, _, _ := bytes.Cut(body, []byte("\n"))
	return fmt.Sprintf("%.300s", line)
}

func TestProbesNeedNoIdentity(t *testing.T) {
	b := newBed(t)
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		if code, body := get(t, anonymous(b.router), path, ""); code != http.StatusOK || body != "ok" {
			t.Errorf("%s: %d %q; want 200 ok", path, code, body)
		}
	}
	if code, body := get(t, b.router, "/cells/cell-1/readyz", ""); code != http.StatusOK {
		t.Errorf("a cell's own health: %d %s", code, body)
	}
	if code, _ := get(t, anonymous(b.router), "/cells/nowhere/readyz", ""); code != http.StatusUnauthorized {
		t.Errorf("the health of no cell, without identity: %d; want 401", code)
	}
	if code, _ := get(t, anonymous(b.router), "/version", ""); code != http.StatusUnauthorized {
		t.Errorf("/version without identity: %d; want 401", code)
	}
	if code, body := get(t, b.router, "/version", ""); code != http.StatusOK || !strings.Contains(body, "v1.36.3") {
		t.Errorf("/version: %d %s; want v1.36.3", code, body)
	}
}

// TestRequestsFailSoonWhileTheRCPHangs: whatever needs the RCP is answered in the time that the router takes to find out,
// and at once from then on.
func TestRequestsFailSoonWhileTheRCPHangs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "rcphangs")
	b.fill(t, ns, 1)
	gate := sandboxtest.NewGate(t, b.rcp.Host)
	through := rest.CopyConfig(b.rcp)
	through.Host = gate.URL()
	client := kube(t, impatient(runRouter(t, through, t.TempDir())))
	gate.Hang()
	defer gate.Pass()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	requests := map[string]func(ctx context.Context) error{
		"get": func(ctx context.Context) error {
			_, err := client.CoreV1().Namespaces().Get(ctx, ns, getOptions())
			return err
		},
		"list": func(ctx context.Context) error {
			_, err := client.RbacV1().Roles("").List(ctx, metav1.ListOptions{})
			return err
		},
		"watch": func(ctx context.Context) error {
			w, err := client.RbacV1().Roles(ns).Watch(ctx, metav1.ListOptions{})
			if err == nil {
				w.Stop()
			}
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := client.RbacV1().Roles(ns).Create(ctx, role.DeepCopy(), metav1.CreateOptions{})
			return err
		},
		"update": func(ctx context.Context) error {
			_, err := client.RbacV1().Roles(ns).Update(ctx, role.DeepCopy(), metav1.UpdateOptions{})
			return err
		},
		"apply": func(ctx context.Context) error {
			_, err := client.RbacV1().Roles(ns).Patch(ctx, "x", types.ApplyPatchType, []byte(`{"kind":"Role","apiVersion":"rbac.authorization.k8s.io/v1"}`), metav1.PatchOptions{FieldManager: "test"})
			return err
		},
		"delete": func(ctx context.Context) error {
			return client.RbacV1().Roles(ns).Delete(ctx, "x", metav1.DeleteOptions{})
		},
		"deletecollection": func(ctx context.Context) error {
			return client.RbacV1().Roles(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		},
		"a Global one": func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "x", getOptions())
			return err
		},
	}
	for round, within := range []time.Duration{20 * time.Second, 5 * time.Second} {
		var asked sync.WaitGroup
		for name, request := range requests {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				err := request(ctx)
				if took := time.Since(began); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "router control plane") || took > within {
					t.Errorf("round %d, %s: %v after %s; want 503 that names the RCP within %s", round, name, err, took, within)
				}
			})
		}
		asked.Wait()
	}
}
