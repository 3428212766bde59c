package router_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the RCP and three cells that all tests of this package share. Tests keep out of each
// other's way by namespaces of their own.
var planes = sandboxtest.NewPool(4)

// movingPlanes are an RCP and two cells, for the tests in which every key moves from the first cell to the second.
var movingPlanes = sandboxtest.NewPool(3)

func TestMain(m *testing.M) {
	for env, be := range map[string]func(string) error{idleEnv: idle, bareEnv: bare} {
		with := os.Getenv(env)
		if with == "" {
			continue
		}
		if err := be(with); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	end, err := serveWorkloads()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := sandboxtest.Main(m, planes, movingPlanes)
	end()
	os.Exit(code)
}

// bed is a federation with a router in this process.
type bed struct {
	rcp    *rest.Config
	cells  map[string]*rest.Config
	router *rest.Config
	// stateDir is the router's.
	stateDir string
}

// found initialises the federation of shared control planes: the first test does, the others find it done.
var found, foundMoving = founding(), founding()

func founding() func(rcp *rest.Config, founders []federation.NewCell) error {
	var once sync.Once
	var err error
	return func(rcp *rest.Config, founders []federation.NewCell) error {
		once.Do(func() {
			_, err = federation.Init(context.Background(), rcp, federation.InitOptions{Founders: founders})
		})
		return err
	}
}

// newBed runs a router for this test, on the federation that all share.
func newBed(t *testing.T) *bed {
	t.Helper()
	b := newBedOn(t, planes.Configs(t), found)
	b.forgetRouters(t)
	return b.run(t)
}

// newBedBeside does so for a test that runs in parallel to others, whose routers have to keep their Leases.
func newBedBeside(t *testing.T) *bed {
	t.Helper()
	return newBedOn(t, planes.Configs(t), found).run(t)
}

// run runs the bed's router until the test ends.
func (b *bed) run(t *testing.T) *bed {
	t.Helper()
	b.stateDir = t.TempDir()
	b.router = runRouter(t, b.rcp, b.stateDir)
	return b
}

// newBedOn founds a federation of an RCP, the first of the control planes, and cells, unless that is done.
func newBedOn(t *testing.T, configs []*rest.Config, found func(*rest.Config, []federation.NewCell) error) *bed {
	t.Helper()
	b := &bed{rcp: configs[0], cells: map[string]*rest.Config{}}
	var founders []federation.NewCell
	for i, config := range configs[1:] {
		name := fmt.Sprintf("cell-%d", i+1)
		b.cells[name] = config
		founders = append(founders, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, config), Weight: 100})
	}
	if err := found(b.rcp, founders); err != nil {
		t.Fatal(err)
	}
	return b
}

// forgetRouters deletes the Leases of routers that could not, since the RCP was cut off from them: this test's
// router would not count as the only one until they have run out.
func (b *bed) forgetRouters(t testing.TB) {
	t.Helper()
	err := kube(t, b.rcp).CoordinationV1().Leases(v1alpha1.Namespace).DeleteCollection(t.Context(),
		metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if err != nil {
		t.Fatal(err)
	}
}

// runRouter runs a router until the test ends and returns the configuration of the RCP's
// administrator for it.
func runRouter(t *testing.T, rcp *rest.Config, stateDir string) *rest.Config {
	t.Helper()
	config, _ := startRouter(t, rcp, stateDir)
	return config
}

// startRouter runs a router until the test ends or stop is called, which returns when it has ended.
func startRouter(t *testing.T, rcp *rest.Config, stateDir string, options ...func(*router.Config)) (config *rest.Config, stop func()) {
	t.Helper()
	dir := t.TempDir()
	writeCertificate(t, filepath.Join(dir, "pki"))
	options = slices.Insert(options, 0, func(c *router.Config) { c.StateDir = stateDir })
	running, err := routertest.Start(rcp, dir, options...)
	if err != nil {
		t.Fatal(err)
	}
	config = running.Config
	config.QPS = -1
	stop = sync.OnceFunc(func() {
		hangUp(t, config)
		if err := running.Stop(); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	t.Cleanup(stop)
	return config, stop
}

// certificate is that of all routers here: to make one takes longer than many a test.
var certificate = sync.OnceValues(func() (pair [2][]byte, err error) {
	pair[0], pair[1], err = certutil.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	return pair, err
})

// writeCertificate puts it where a router looks for its own before it makes one.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	pair, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"router.crt", "router.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), pair[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// hangUp closes the connections of this process to a router on which nothing is going on. A server that stops waits a
// second for the client to do so.
func hangUp(t *testing.T, config *rest.Config) {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Error(err)
		return
	}
	utilnet.CloseIdleConnectionsFor(transport)
}

func kube(t testing.TB, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c := rest.CopyConfig(config)
	c.QPS = -1
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func dyn(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// snapshot is the ring as the router must see it.
func (b *bed) snapshot(t testing.TB) *routing.Snapshot {
	t.Helper()
	c, err := client.New(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), "default", getOptions())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}
