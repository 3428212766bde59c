package router_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// benchObjects is how many objects the lists have.
const benchObjects = 10_000

// fillNamespace makes a namespace with benchObjects config maps of 1 KB in it.
func fillNamespace(b *testing.B, config *rest.Config, ns string) {
	b.Helper()
	client := kube(b, config)
	if _, err := client.CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(2 * benchClients)
	for i := range benchObjects {
		group.Go(func() error {
			object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%05d", i)}, Data: map[string]string{"text": strings.Repeat("0123456789", 100)}}
			_, err := client.CoreV1().ConfigMaps(ns).Create(ctx, object, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// list asks for a whole list and returns how many bytes it has.
func (t *benchTarget) list(ctx context.Context, accept string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", accept)
	answer, err := t.clients[0].Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", t.url, answer.Status)
	}
	return io.Copy(io.Discard, answer.Body)
}

// timedLists asks all targets at once for their lists, benchObjects together, and returns how long that took, in
// seconds.
func timedLists(b *testing.B, accept string, targets ...*benchTarget) float64 {
	b.Helper()
	var total atomic.Int64
	start := time.Now()
	group, ctx := errgroup.WithContext(b.Context())
	for _, t := range targets {
		group.Go(func() error {
			n, err := t.list(ctx, accept)
			total.Add(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	if total.Load() < benchObjects*1000 {
		b.Fatalf("lists of %d bytes", total.Load())
	}
	return time.Since(start).Seconds()
}

// BenchmarkRouterList compares the list of objects that four cells share with that of as many in one cell, and with
// what the four cells take at least: their lists at once, merged by nobody. The order changes from round to round,
// since each leaves work behind for the garbage collectors of the cells.
func BenchmarkRouterList(b *testing.B) {
	s := unshared(b, 4)
	viaRouter, cell := s.Router(b), s.Cell(b, "cell-1")
	fillNamespace(b, viaRouter, "shared")
	fillNamespace(b, cell, "whole")
	const shared = "/api/v1/namespaces/shared/configmaps"
	ways := [][]*benchTarget{
		{newBenchTarget(b, cell, "/api/v1/namespaces/whole/configmaps")},
		{newBenchTarget(b, viaRouter, shared)},
		nil,
	}
	for i := range 4 {
		ways[2] = append(ways[2], newBenchTarget(b, s.Cell(b, fmt.Sprintf("cell-%d", i+1)), shared))
	}
	for name, accept := range map[string]string{"JSON": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf} {
		b.Run(name, func(b *testing.B) {
			took := make([][]float64, len(ways))
			for _, targets := range ways { // all warm
				timedLists(b, accept, targets...)
			}
			for b.Loop() {
				for range benchRounds {
					for _, i := range rand.Perm(len(ways)) {
						took[i] = append(took[i], timedLists(b, accept, ways[i]...))
					}
				}
			}
			direct := median(took[0])
			b.ReportMetric(median(took[1])/direct, "router÷direct")
			b.ReportMetric(median(took[2])/direct, "floor÷direct")
			b.ReportMetric(median(took[1])*1e3, "router-ms")
			b.ReportMetric(direct*1e3, "direct-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
