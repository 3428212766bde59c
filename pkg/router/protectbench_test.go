package router_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
)

// BenchmarkRouterProtected compares writes that are answered once their envelope is stored with others, in turn, by one
// client.
func BenchmarkRouterProtected(b *testing.B) {
	s := unshared(b, 2)
	viaRouter := kube(b, s.Router(b))
	c, err := client.New(s.RCP(b))
	if err != nil {
		b.Fatal(err)
	}
	ring, err := c.Rings().Get(b.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for _, ns := range []string{"plain", "protected"} {
		if _, err := viaRouter.CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		if _, err := viaRouter.CoreV1().ConfigMaps(ns).Create(b.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	ring.Spec.Protection = []v1alpha1.ProtectionRule{{Namespaces: []string{"protected"}, Policy: v1alpha1.ProtectionStrict}}
	if _, err := c.Rings().Update(b.Context(), ring, metav1.UpdateOptions{}); err != nil {
		b.Fatal(err)
	}
	const rounds = 200
	for b.Loop() {
		var plain, protected []time.Duration
		for n := range rounds {
			plain = append(plain, patchOnce(b, viaRouter, "plain", n))
			protected = append(protected, patchOnce(b, viaRouter, "protected", n))
		}
		slices.Sort(plain)
		slices.Sort(protected)
		ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
		b.ReportMetric(ms(plain[rounds/2]), "plain-p50-ms")
		b.ReportMetric(ms(protected[rounds/2]), "protected-p50-ms")
		b.ReportMetric(ms(protected[rounds*99/100]), "protected-p99-ms")
		b.ReportMetric(ms(protected[rounds/2])/ms(plain[rounds/2]), "ratio-p50")
	}
}

func patchOnce(b *testing.B, c kubernetes.Interface, ns string, n int) time.Duration {
	b.Helper()
	began := time.Now()
	_, err := c.CoreV1().ConfigMaps(ns).Patch(b.Context(), "x", types.MergePatchType, []byte(`{"data":{"n":"`+strconv.Itoa(n)+`"}}`), metav1.PatchOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
