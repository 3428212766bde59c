package backup_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are an RCP and a cell.
var planes = sandboxtest.NewPool(2)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

const (
	pollInterval = 50 * time.Millisecond
	pollTimeout  = time.Minute
	// takeover is within what another daemon works after the last sign of life of one that is gone.
	takeover = 15 * time.Second
)

// sides are the RCP and the cell of a federation, as administrators.
func sides(t *testing.T) (rcp, cell *rest.Config) {
	t.Helper()
	configs := planes.Configs(t)
	founder := federation.NewCell{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, configs[1])}
	_, err := federation.Init(t.Context(), configs[0], federation.InitOptions{Founders: []federation.NewCell{founder}})
	if err != nil {
		t.Fatal(err)
	}
	return configs[0], configs[1]
}

// daemon is one backup daemon in this process.
type daemon struct {
	url string
	// stop ends it in order.
	stop func()
	// sever has it lose touch with the RCP for good, as a crash of the machine would.
	sever func()
	// asked counts what it asked of the RCP, by method and path.
	asked *requests
}

// requests is safe for concurrent use.
type requests struct {
	mu     sync.Mutex // guards what follows
	counts map[string]int
	// publishing is the context of the newest request about a mark.
	publishing context.Context
}

func (r *requests) add(request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := ""
	if manager := request.URL.Query().Get("fieldManager"); manager != "" {
		of = " by " + manager
	}
	r.counts[request.Method+" "+request.URL.Path+of]++
	if strings.Contains(request.URL.Path, "/configmaps/"+v1alpha1.MarksPrefix) {
		r.publishing = context.WithoutCancel(request.Context())
	}
}

// overdue says whether what asked about a mark last has outlived its Lease.
func (r *requests) overdue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publishing != nil && lease.Overdue(r.publishing)
}

// writes are those requests that were to change something.
func (r *requests) writes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for request := range r.counts {
		if !strings.HasPrefix(request, http.MethodGet+" ") {
			out = append(out, request)
		}
	}
	return out
}

func (r *requests) count(request string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[request]
}

// start runs a daemon with no other rights than those of its group.
func start(t *testing.T, rcp *rest.Config, identity string) *daemon {
	t.Helper()
	config := rest.CopyConfig(rcp)
	config.Impersonate = rest.ImpersonationConfig{UserName: "kubecell:backup", Groups: []string{federation.GroupBackup}}
	severed, sever := context.WithCancel(context.Background())
	asked := &requests{counts: map[string]int{}}
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return lifeline{severed, asked, rt} })
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- backup.Run(ctx, backup.Config{
			RCP: config, Identity: identity, Listen: "127.0.0.1:0",
			Ready:  func(url string) { ready <- url },
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
		})
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", identity, err)
		}
	})
	t.Cleanup(sever)
	t.Cleanup(stop)
	return &daemon{url: <-ready, stop: stop, sever: sever, asked: asked}
}

// lifeline is a connection that ends with a context.
type lifeline struct {
	severed context.Context
	asked   *requests
	rt      http.RoundTripper
}

func (l lifeline) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := l.severed.Err(); err != nil {
		return nil, err
	}
	l.asked.add(r)
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(l.severed, cancel)
	return l.rt.RoundTrip(r.WithContext(ctx))
}

func kube(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func await(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, condition); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

func awaitHolder(t *testing.T, rcp *rest.Config, want string) {
	t.Helper()
	leases := kube(t, rcp).CoordinationV1().Leases(v1alpha1.Namespace)
	await(t, "the lease of "+want, func(ctx context.Context) (bool, error) {
		got, err := leases.Get(ctx, backup.LeaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil && got.Spec.HolderIdentity != nil && *got.Spec.HolderIdentity == want, err
	})
}

// awaitTakeover waits until another daemon has the Lease, and returns how long after the last sign of life of the one before.
func awaitTakeover(t *testing.T, rcp *rest.Config, from, to string) time.Duration {
	t.Helper()
	leases := kube(t, rcp).CoordinationV1().Leases(v1alpha1.Namespace)
	var last, took time.Time
	await(t, "the lease of "+to, func(ctx context.Context) (bool, error) {
		got, err := leases.Get(ctx, backup.LeaseName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		switch ptr.Deref(got.Spec.HolderIdentity, "") {
		case from:
			last = got.Spec.RenewTime.Time
		case to:
			took = got.Spec.AcquireTime.Time
		}
		return !took.IsZero(), nil
	})
	return took.Sub(last)
}

// wantWork makes a namespace in the RCP, waits for its copy, deletes it and waits until it is gone.
func wantWork(t *testing.T, rcp, cell *rest.Config, name string) {
	t.Helper()
	sources, copies := kube(t, rcp).CoreV1().Namespaces(), kube(t, cell).CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := sources.Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the copy of "+name, func(ctx context.Context) (bool, error) {
		_, err := copies.Get(ctx, name, metav1.GetOptions{})
		return err == nil, nil
	})
	if err := sources.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of "+name, func(ctx context.Context) (bool, error) {
		_, err := sources.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if _, err := copies.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("copy of %s: %v; want not found, since its source is gone", name, err)
	}
}

func metrics(t *testing.T, d *daemon) string {
	t.Helper()
	answer, err := http.Get(d.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestHandOver has one daemon work and another stand by: it goes on when the first ends in order, and
// when the first is lost.
func TestHandOver(t *testing.T) {
	rcp, cell := sides(t)
	first := start(t, rcp, "first")
	awaitHolder(t, rcp, "first")
	second := start(t, rcp, "second")
	wantWork(t, rcp, cell, "by-the-first")
	if got := metrics(t, first); !strings.Contains(got, "kubecell_backup_leader 1") ||
		!strings.Contains(got, `kubecell_replication_repairs_total{action="created",cell="cell-1",resource="namespaces"}`) {
		t.Errorf("metrics of the holder do not say that it works:\n%s", got)
	}
	if got := metrics(t, second); !strings.Contains(got, "kubecell_backup_leader 0") {
		t.Errorf("metrics of the one that stands by:\n%s", got)
	}
	first.stop()
	awaitHolder(t, rcp, "second")
	wantWork(t, rcp, cell, "by-the-second")
	third := start(t, rcp, "third")
	second.sever()
	if took := awaitTakeover(t, rcp, "second", "third"); took > takeover {
		t.Errorf("the third daemon works %s after the last sign of life of the second; want %s at most", took, takeover)
	}
	if !second.asked.overdue() {
		t.Error("the work of the lost daemon does not know that its lease is over")
	}
	wantWork(t, rcp, cell, "by-the-third")
	if got := metrics(t, second); !strings.Contains(got, "kubecell_backup_leader 0") {
		t.Errorf("the lost daemon still takes itself for the holder:\n%s", got)
	}
	third.stop()
}

// TestRestart changes things while no daemon runs: the next one finds them.
func TestRestart(t *testing.T) {
	rcp, cell := sides(t)
	before := start(t, rcp, "before")
	awaitHolder(t, rcp, "before")
	sources, copies := kube(t, rcp).CoreV1().Namespaces(), kube(t, cell).CoreV1().Namespaces()
	for _, name := range []string{"lost-copy", "to-delete"} {
		if _, err := sources.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		await(t, "the copy of "+name, func(ctx context.Context) (bool, error) {
			_, err := copies.Get(ctx, name, metav1.GetOptions{})
			return err == nil, nil
		})
	}
	before.stop()
	if err := copies.Delete(t.Context(), "lost-copy", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the loss", func(ctx context.Context) (bool, error) {
		_, err := copies.Get(ctx, "lost-copy", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err := sources.Delete(t.Context(), "to-delete", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := sources.Get(t.Context(), "to-delete", metav1.GetOptions{}); err != nil {
		t.Fatalf("the source does not wait for its copy: %v", err)
	}
	start(t, rcp, "after")
	await(t, "the copy to be made again", func(ctx context.Context) (bool, error) {
		_, err := copies.Get(ctx, "lost-copy", metav1.GetOptions{})
		return err == nil, nil
	})
	await(t, "the deletion", func(ctx context.Context) (bool, error) {
		_, err := sources.Get(ctx, "to-delete", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

// TestADaemonUsesAllEndpoints works while the first endpoint of the cell is down.
func TestADaemonUsesAllEndpoints(t *testing.T) {
	rcp, cell := sides(t)
	sandboxtest.FirstEndpointDown(t, rcp)
	start(t, rcp, "one")
	wantWork(t, rcp, cell, "second-endpoint")
}
