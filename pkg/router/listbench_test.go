package router_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
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

// list asks for a whole list and returns how long that took, in seconds.
func (t *benchTarget) list(b *testing.B, accept string) float64 {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, t.url, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	start := time.Now()
	answer, err := t.clients[0].Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || n < benchObjects*1000 {
		b.Fatalf("%s: %s, %d bytes, %v", t.url, answer.Status, n, err)
	}
	return time.Since(start).Seconds()
}

// BenchmarkRouterList compares the list of objects that four cells share with that of as many in one cell.
func BenchmarkRouterList(b *testing.B) {
	s := sandboxtest.Up(b, 4)
	viaRouter, cell := s.Router(b), s.Cell(b, "cell-1")
	fillNamespace(b, viaRouter, "shared")
	fillNamespace(b, cell, "whole")
	direct := newBenchTarget(b, cell, "/api/v1/namespaces/whole/configmaps")
	router := newBenchTarget(b, viaRouter, "/api/v1/namespaces/shared/configmaps")
	for name, accept := range map[string]string{"JSON": runtime.ContentTypeJSON, "protobuf": runtime.ContentTypeProtobuf} {
		b.Run(name, func(b *testing.B) {
			var ours, theirs []float64
			direct.list(b, accept) // both warm
			router.list(b, accept)
			for b.Loop() {
				for range benchRounds {
					theirs = append(theirs, direct.list(b, accept))
					ours = append(ours, router.list(b, accept))
				}
			}
			b.ReportMetric(median(ours)/median(theirs), "router÷direct")
			b.ReportMetric(median(ours)*1e3, "router-ms")
			b.ReportMetric(median(theirs)*1e3, "direct-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
