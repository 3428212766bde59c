package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

var (
	duration = flag.Duration("duration", 12*time.Second, "how long to write")
	seed     = flag.Uint64("seed", 0, "what the writers do; 0 draws one")
	rate     = flag.Float64("rate", 0, "how many writes a second there must be, over the whole time")
	backup   = flag.Bool("backup", false, "leave the backup daemon running; it answers most writes with one of its own, on the same machine")
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

const (
	writers    = 16
	namespaces = 4
	// settle is how long the caches may take to catch up at the end. An informer that was refused several times, as by a
	// router that restarts, waits up to a minute before it asks again: the backoff of client-go's reflector.
	settle = 90 * time.Second
)

// followed are the resources with informers, and of what class they are.
func followed() []schema.GroupVersionResource {
	core := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: resource}
	}
	return []schema.GroupVersionResource{
		core("configmaps"), core("secrets"), core("services"), // sharded
		{Group: "apps", Version: "v1", Resource: "deployments"},
		core("events"), core("pods"), // local
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, core("namespaces"), // replicated
	}
}

func TestInformersSurviveRestarts(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64() //nolint:gosec // a seed is no secret
	}
	t.Logf("to repeat: go test ./test/soak -seed %d -duration %s", *seed, *duration)
	s := sandboxtest.Up(t, 3)
	withoutBackup(t, s)
	all := makeNamespaces(t, s)
	watched := startInformers(t, s, all)
	writing := time.Now()
	written, stop := startWriters(t, s, all)

	part := *duration / 4
	load := func() {
		await(t, part)
		written.report(t, time.Since(writing))
	}
	load()
	before := standing(t, watched, written)
	restartRouter(t, s)
	load()
	before.wantSame(t, "the first restart of the router")
	killCell(t, s, "cell-2")
	load()
	before = standing(t, watched, written)
	restartRouter(t, s)
	load()
	before.wantSame(t, "the second restart of the router")
	stop()
	achieved := written.report(t, time.Since(writing))
	if written.done.Load() == 0 || achieved < *rate {
		t.Errorf("%.0f writes a second, over all restarts; at least %.0f are wanted", achieved, *rate)
	}

	truth := readTruth(t, s)
	began := time.Now()
	for _, f := range watched {
		want := f.part(truth[f.resource])
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, settle, true, func(context.Context) (bool, error) {
			return cmp.Equal(want, f.cached()), nil
		})
		if err != nil {
			t.Errorf("the cache of %s differs from the cells (-cells +cache):\n%s", f, cmp.Diff(want, f.cached()))
		}
		for _, v := range f.violations() {
			t.Errorf("%s: %s", f, v)
		}
		t.Logf("%s: %d objects after %s, %d events, listed %d times", f, len(want), time.Since(began).Round(time.Millisecond), f.events.Load(), f.lists.Load())
	}
}

// await lets the writers work. It is the length of the load, not a wait for something to happen.
func await(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal("the test was stopped")
	}
}

func makeNamespaces(t *testing.T, s *sandboxtest.Sandbox) []string {
	t.Helper()
	router, err := dynamic.NewForConfig(s.Router(t))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range namespaces {
		name := fmt.Sprintf("soak-%d", i)
		ns := object("v1", "Namespace", "", name)
		if _, err := router.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		out = append(out, name)
	}
	return out
}

// restartRouter stops the router as a rolling upgrade does, and starts it again at the same address.
func restartRouter(t *testing.T, s *sandboxtest.Sandbox) {
	t.Helper()
	end(t, s, func(status sandbox.Status) sandbox.Part { return status.Router }, syscall.SIGTERM)
	up(t, s)
}

// killCell kills a cell's apiserver and etcd, and starts them again.
func killCell(t *testing.T, s *sandboxtest.Sandbox, cell string) {
	t.Helper()
	end(t, s, func(status sandbox.Status) sandbox.Part {
		for _, part := range status.Cells {
			if part.Name == cell {
				return part
			}
		}
		return sandbox.Part{Name: cell}
	}, syscall.SIGKILL)
	up(t, s)
}

// end signals a process and waits until it is gone with all that it held.
func end(t *testing.T, s *sandboxtest.Sandbox, find func(sandbox.Status) sandbox.Part, signal syscall.Signal) {
	t.Helper()
	part := find(s.Status(t))
	if !part.Up || part.PID == 0 {
		t.Fatalf("%s does not run", part.Name)
	}
	began := time.Now()
	if err := syscall.Kill(part.PID, signal); err != nil {
		t.Fatalf("stop %s: %v", part.Name, err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return !find(s.Status(t)).Up, nil
	})
	if err != nil {
		t.Fatalf("%s did not end: %v", part.Name, err)
	}
	t.Logf("%s ended %s after %s", part.Name, time.Since(began).Round(time.Millisecond), signal)
}

// withoutBackup ends the backup daemon, unless it was asked for. Nothing here needs it: the cell that is killed comes
// back with all it had, and of replicated resources the truth is in the RCP.
func withoutBackup(t *testing.T, s *sandboxtest.Sandbox) {
	t.Helper()
	if !*backup {
		end(t, s, func(status sandbox.Status) sandbox.Part { return status.Backup }, syscall.SIGTERM)
	}
}

func up(t *testing.T, s *sandboxtest.Sandbox) {
	t.Helper()
	began := time.Now()
	_, err := s.Manager.Up(t.Context(), sandbox.UpOptions{Name: s.Name, Cells: 3, KubeconfigFiles: []string{s.Kubeconfig}})
	if err != nil {
		t.Fatalf("start what does not run: %v", err)
	}
	t.Logf("everything runs again after %s", time.Since(began).Round(time.Millisecond))
	withoutBackup(t, s) // it is part of everything
}

// snapshot is where the ring places everything.
func snapshot(t *testing.T, s *sandboxtest.Sandbox) *routing.Snapshot {
	t.Helper()
	c, err := client.New(s.RCP(t))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// counts are what writers did. Done are the writes that were answered and changed something, failed those that were not
// answered, and refused those that were answered otherwise than the writer had to expect.
type counts struct {
	done, failed, refused, idle atomic.Int64
	// cuts are those of the failed that were sent.
	cuts cuts
}

// report logs the counts and returns the writes a second.
func (c *counts) report(t *testing.T, took time.Duration) float64 {
	t.Helper()
	achieved := float64(c.done.Load()) / took.Seconds()
	t.Logf("%d writes in %s, with all restarts so far: %.0f writes/s; %d not answered; %d refused; %d changed nothing",
		c.done.Load(), took.Round(100*time.Millisecond), achieved, c.failed.Load(), c.refused.Load(), c.idle.Load())
	return achieved
}

// startWriters writes until stop is called, which returns when the last write is answered.
func startWriters(t *testing.T, s *sandboxtest.Sandbox, namespaces []string) (written *counts, stop func()) {
	t.Helper()
	written = &counts{}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range writers {
		config := s.Router(t)
		config.Wrap(written.cuts.watch)
		router, err := dynamic.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		w := &writer{client: router, random: rand.New(rand.NewPCG(*seed, uint64(i))), namespaces: namespaces, own: i, written: written} //nolint:gosec // not a secret
		running.Go(func() { w.run(ctx) })
	}
	return written, func() { cancel(); running.Wait() }
}
