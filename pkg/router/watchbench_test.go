package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

const (
	// watchEvents are made, one each watchEvery.
	watchEvents = 1000
	watchEvery  = 20 * time.Millisecond
	// watchWriters bounds how many creates are in flight.
	watchWriters = 8
	// watchPatience is for the last event.
	watchPatience = time.Minute
)

// watched is how many events a round has.
func watched() int {
	if testing.Short() {
		return watchEvents / 10
	}
	return watchEvents
}

// arrivals is when each object was seen first, by one client or several that share the objects.
type arrivals struct {
	mu   sync.Mutex // guards what follows
	at   map[string]time.Time
	left int
	all  chan struct{} // closed with the last one
}

func newArrivals(n int) *arrivals {
	return &arrivals{at: map[string]time.Time{}, left: n, all: make(chan struct{})}
}

func (a *arrivals) add(name string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, seen := a.at[name]; seen {
		return
	}
	a.at[name] = at
	if a.left--; a.left == 0 {
		close(a.all)
	}
}

// watchFrames notes the frames of one watch that tell of an object of the benchmark, until ctx ends. The
// frames are not decoded: that would take longer than what is measured.
func (a *arrivals) watchFrames(ctx context.Context, b *testing.B, config *rest.Config, ns, accept string) {
	b.Helper()
	body, err := kube(b, config).CoreV1().RESTClient().Get().Namespace(ns).Resource("configmaps").
		Param("watch", "true").SetHeader("Accept", accept).Stream(ctx)
	if err != nil {
		b.Fatal(err)
	}
	var framer runtime.Framer = jsonserializer.Framer
	if accept != runtime.ContentTypeJSON {
		framer = protobuf.LengthDelimitedFramer
	}
	frames := framer.NewFrameReader(body)
	ours := regexp.MustCompile(`event-\d{4}`)
	go func() {
		defer frames.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := frames.Read(buffer)
			at := time.Now()
			if err != nil {
				if ctx.Err() == nil && !errors.Is(err, io.EOF) {
					b.Errorf("watch %s: %v", config.Host, err)
				}
				return
			}
			if name := ours.Find(buffer[:n]); name != nil {
				a.add(string(name), at)
			}
		}
	}()
}

// makeEvents creates watchEvents config maps of 1 KB through the router, evenly spread in time.
func makeEvents(b *testing.B, router *rest.Config, ns string) {
	b.Helper()
	maps := kube(b, router).CoreV1().ConfigMaps(ns)
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(watchWriters)
	start := time.Now()
	for i := range watched() {
		time.Sleep(time.Until(start.Add(time.Duration(i) * watchEvery)))
		group.Go(func() error {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("event-%04d", i)}, Data: map[string]string{"text": strings.Repeat("0123456789", 100)}}
			_, err := maps.Create(ctx, object, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// later is by how much each object arrived later in a than in other, in ms; less than 0 where it was earlier.
func (a *arrivals) later(other *arrivals) []float64 {
	var out []float64
	for name, at := range a.at {
		out = append(out, at.Sub(other.at[name]).Seconds()*1e3)
	}
	return out
}

func (a *arrivals) await(b *testing.B, who string) {
	b.Helper()
	select {
	case <-a.all:
	case <-time.After(watchPatience):
		a.mu.Lock()
		defer a.mu.Unlock()
		b.Fatalf("%s: %d events have not come", who, a.left)
	}
}

// BenchmarkRouterWatch compares when a watch of three cells through the router has an event with when a
// watch of the cell itself has it. A second watch of each cell shows what the comparison is worth: its events
// would come at the same time if neither cell, machine nor client had anything else to do.
func BenchmarkRouterWatch(b *testing.B) {
	s := unshared(b, 3)
	for name, accept := range map[string]string{"JSON": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf} {
		b.Run(name, func(b *testing.B) {
			var added, noise []float64
			for b.Loop() {
				router, direct, second := watchRound(b, s, accept)
				added = append(added, router.later(direct)...)
				noise = append(noise, second.later(direct)...)
			}
			b.ReportMetric(median(added), "added-p50-ms")
			b.ReportMetric(quantile(added, .99), "added-p99-ms")
			b.ReportMetric(median(noise), "second-p50-ms")
			b.ReportMetric(quantile(noise, .99), "second-p99-ms")
			b.ReportMetric(float64(len(added)), "events")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// watchRound makes events in a new namespace and returns when each of the three watches had them.
func watchRound(b *testing.B, s *sandboxtest.Sandbox, accept string) (router, direct, second *arrivals) {
	b.Helper()
	ns, err := kube(b, s.Router(b)).CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "watched-"}}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	router, direct, second = newArrivals(watched()), newArrivals(watched()), newArrivals(watched())
	router.watchFrames(ctx, b, s.Router(b), ns.Name, accept)
	for _, cell := range []string{"cell-1", "cell-2", "cell-3"} {
		direct.watchFrames(ctx, b, s.Cell(b, cell), ns.Name, accept)
		second.watchFrames(ctx, b, s.Cell(b, cell), ns.Name, accept)
	}
	makeEvents(b, s.Router(b), ns.Name)
	router.await(b, "through the router")
	direct.await(b, "directly")
	second.await(b, "directly, the second")
	return router, direct, second
}
