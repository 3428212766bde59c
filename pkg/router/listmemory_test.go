package router_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

const (
	// heavyObjects are how many objects the list has, of heavySize bytes each.
	heavyObjects = 320
	heavySize    = 500 << 10
	// heavyPeak is how much memory one list of them may take, its garbage included, in bytes: little more than a third of
	// what passes.
	heavyPeak = 60 << 20
)

// TestALargeListTakesLittleMemory lists far more than a router may hold at once, from real cells, over HTTP.
func TestALargeListTakesLittleMemory(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "heavy")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	text := strings.Repeat("0123456789", heavySize/10)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i := range heavyObjects {
		group.Go(func() error {
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%03d", i)}, Data: map[string]string{"text": text}}, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
	}()
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, accept := range []string{kruntime.ContentTypeJSON, kruntime.ContentTypeProtobuf} {
		t.Run(accept, func(t *testing.T) {
			peak, size := peakOf(t, func() int64 { return passed(t, b.router, path, accept) })
			if size < heavyObjects*heavySize {
				t.Errorf("the list has %d bytes; want %d at least", size, heavyObjects*heavySize)
			}
			if peak > heavyPeak {
				t.Errorf("a list of %d MiB took %d MiB of memory; want at most %d", size>>20, peak>>20, heavyPeak>>20)
			}
			t.Logf("%d MiB passed, at most %d MiB in use", size>>20, peak>>20)
		})
	}
}

// passed gets a path, keeps nothing of the answer and returns how many bytes it has.
func passed(t *testing.T, config *rest.Config, path, accept string) int64 {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	size, err := io.Copy(io.Discard, answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s after %d bytes: %v", answer.Status, size, err)
	}
	return size
}

// peakOf returns what do does, and how much more memory was in use meanwhile than before, in bytes.
func peakOf(t *testing.T, do func() int64) (peak uint64, size int64) {
	t.Helper()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		var now runtime.MemStats
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
	})
	size = do()
	close(done)
	sampling.Wait()
	return peak, size
}
