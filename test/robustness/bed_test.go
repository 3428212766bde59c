package robustness

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// patience is how long anything may take that has to come.
const patience = 2 * time.Minute

// runPatience is how long a rebalance, a failover or a failback may take: minutes beside busy neighbours.
const runPatience = 5 * patience

// stopPatience is how long a daemon may take to end.
const stopPatience = 10 * time.Second

// access is a way to a router or a cell, by its name.
type access struct {
	name   string
	client dynamic.Interface
}

// bed is a federation with two routers, as the proof sees it.
type bed struct {
	t      *testing.T
	box    *sandboxtest.Sandbox
	rcp    *rest.Config
	kube   kubernetes.Interface // of the RCP
	client *client.Client
	record *history.Recorder
	binary string // kubectl-cell

	routers []daemon.Spec
	hosts   []string // of the routers, as URLs
	through []access

	mu    sync.Mutex // guards what follows
	cells []access
	odd   []string // answers that nothing explains
}

func newBed(t *testing.T, cells int) *bed {
	t.Helper()
	b := &bed{t: t, box: sandboxtest.Up(t, cells), record: history.NewRecorder()}
	b.rcp = b.box.RCP(t)
	var err error
	b.kube, b.client, err = client.Connect(b.rcp)
	b.must(err)
	_, b.binary, err = sandboxtest.Binaries()
	b.must(err)
	first := b.box.Router(t)
	at, err := url.Parse(first.Host)
	b.must(err)
	second := rest.CopyConfig(first)
	port, err := sandboxtest.FreePort()
	b.must(err)
	second.Host = "https://" + net.JoinHostPort(sandbox.Loopback, port)
	b.routers = []daemon.Spec{b.routerSpec("router-1", b.box.Dir("router"), at.Port()), b.routerSpec("router-2", t.TempDir(), port)}
	b.hosts = []string{first.Host, second.Host}
	b.through = []access{{"router-1", dynamicFor(t, first)}, {"router-2", dynamicFor(t, second)}}
	b.start(b.routers[1])
	t.Cleanup(func() { _, _ = daemon.Stop(context.Background(), b.routers[1].LockPath, stopPatience) })
	b.withoutBackup()
	for i := range cells {
		b.addCell(fmt.Sprintf("cell-%d", i+1))
	}
	b.makeKinds()
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func dynamicFor(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// routerSpec is a router that keeps its state in dir, with the certificates of the sandbox's own one.
func (b *bed) routerSpec(name, dir, port string) daemon.Spec {
	files := b.box.Dir("router")
	return daemon.Spec{
		Name: name,
		Command: []string{
			b.binary, "router", "run", "--rcp-kubeconfig", filepath.Join(files, "rcp.kubeconfig"), "--state-dir", dir,
			"--bind-address", sandbox.Loopback, "--secure-port", port,
			"--tls-cert-file", filepath.Join(files, "serving.crt"), "--tls-private-key-file", filepath.Join(files, "serving.key"),
			"--client-ca-file", filepath.Join(files, "ca.crt"), "--admin-listen", net.JoinHostPort(sandbox.Loopback, "0"),
		},
		LockPath: filepath.Join(dir, "lock"), LogPath: filepath.Join(b.box.Dir("logs"), name+".log"), DieWithParent: true,
	}
}

func (b *bed) start(spec daemon.Spec) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if _, err := daemon.Start(ctx, spec); err != nil {
		b.t.Errorf("start %s: %v", spec.Name, err)
	}
}

// end sends a signal to whoever holds a lock, and waits until nobody does.
func (b *bed) end(lock string, signal syscall.Signal) {
	b.t.Helper()
	b.signal(lock, signal)
	b.await("the end of "+lock, func() bool {
		_, up, err := daemon.Inspect(lock)
		return err == nil && !up
	})
}

func (b *bed) signal(lock string, signal syscall.Signal) {
	b.t.Helper()
	holder, up, err := daemon.Inspect(lock)
	if err != nil || !up {
		b.t.Errorf("%s is not held (%v)", lock, err)
		return
	}
	if err := syscall.Kill(holder.PID, signal); err != nil {
		b.t.Errorf("signal %d: %v", holder.PID, err)
	}
}

func (b *bed) await(what string, condition func() bool) {
	b.t.Helper()
	if err := b.poll(condition); err != nil {
		b.t.Errorf("wait for %s: %v", what, err)
	}
}

// poll waits for a condition; the error is that it does not come.
func (b *bed) poll(condition func() bool) error {
	return wait.PollUntilContextTimeout(b.t.Context(), 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
}

// addCell makes a cell known that runs.
func (b *bed) addCell(name string) access {
	a := access{name, dynamicFor(b.t, b.box.Cell(b.t, name))}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cells = append(b.cells, a)
	return a
}

func (b *bed) allCells() []access {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]access(nil), b.cells...)
}

// strange keeps what no client should ever be told.
func (b *bed) strange(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.odd = append(b.odd, fmt.Sprintf(format, args...))
}

func (b *bed) ring() *v1alpha1.Ring {
	b.t.Helper()
	ring, err := b.client.Rings().Get(b.t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	b.must(err)
	return ring
}

// makeKinds makes the namespace and the custom resource of all objects, and waits until every cell serves them.
func (b *bed) makeKinds() {
	b.t.Helper()
	ctx := b.t.Context()
	anything, keep := &apiextensionsv1.JSONSchemaProps{Type: "object"}, true
	anything.XPreserveUnknownFields = &keep
	crd := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: widgets.Resource + "." + widgets.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: widgets.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: widgets.Resource, Kind: "FederatedWidget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: widgets.Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: anything},
			}},
		},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	b.must(err)
	delete(object, "status")
	router := b.through[0].client
	_, err = router.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
		Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	b.must(err)
	ns := newObject("v1", "Namespace", namespace)
	ns.SetNamespace("")
	_, err = router.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(ctx, ns, metav1.CreateOptions{})
	b.must(err)
	for _, a := range append(b.allCells(), b.through...) {
		b.await("the kinds in "+a.name, func() bool {
			_, err := a.client.Resource(widgets).Namespace(namespace).List(ctx, metav1.ListOptions{})
			return err == nil
		})
	}
}

// keep writes the history of a failed run where it can be looked at.
func (b *bed) keep(seed uint64) {
	if !b.t.Failed() {
		return
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("robustness-%d.json", seed))
	if err := b.record.Save(path); err != nil {
		b.t.Log(err)
		return
	}
	b.t.Logf("the history is in %s", path)
}

// isGone says whether a watch or list has to begin anew.
func isGone(err error) bool { return apierrors.IsGone(err) || apierrors.IsResourceExpired(err) }
