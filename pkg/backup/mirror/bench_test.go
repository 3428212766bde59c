package mirror_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// BenchmarkBackupLag writes 100 times a second to 200 config maps of one cell, and reports how long after each answer the
// write is in an envelope of the other cell, as a watch of it tells. Cells, mirror and writers share the machine.
func BenchmarkBackupLag(b *testing.B) {
	const writes, objects, every = 1000, 200, 10 * time.Millisecond
	for b.Loop() {
		bed := newBed(b)
		ring := bed.setRing([]string{east, west}, nil)
		names := make([]string, objects)
		for i := range names {
			names[i] = bed.owned(ring, fmt.Sprintf("o%d", i), of(east))
			bed.make(east, configMaps, `{metadata: {name: `+names[i]+`}}`)
		}
		bed.start(ring)
		bed.settled(east, west)
		arrived := make(chan stored, 2*writes)
		bed.watchEnvelopes(west, arrived)
		answered := map[string]time.Time{} // by envelope and version
		ticker := time.NewTicker(every)
		for n := range writes {
			<-ticker.C
			name := names[n%objects]
			patch := []byte(`{"data":{"n":"` + strconv.Itoa(n) + `"}}`)
			obj, err := bed.in(east, configMaps).Patch(b.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil {
				b.Fatal(err)
			}
			answered[nameOf(configMaps, bed.namespace, name)+" "+obj.GetResourceVersion()] = time.Now()
		}
		ticker.Stop()
		var lags []time.Duration
		for len(answered) > 0 {
			select {
			case s := <-arrived:
				if at, ours := answered[s.what]; ours {
					lags = append(lags, max(0, s.at.Sub(at)))
					delete(answered, s.what)
				}
			case <-time.After(10 * time.Second):
				b.Fatalf("%d writes are in no envelope", len(answered))
			}
		}
		slices.Sort(lags)
		b.ReportMetric(float64(lags[len(lags)/2])/1e6, "lag-p50-ms")
		b.ReportMetric(float64(lags[len(lags)*99/100])/1e6, "lag-p99-ms")
	}
}

// stored is a version of an object that has arrived in its envelope.
type stored struct {
	what string
	at   time.Time
}

func (b *bed) watchEnvelopes(cell string, arrived chan<- stored) {
	b.t.Helper()
	w, err := b.dynamic[cell].Resource(secrets.GroupVersionResource).Namespace("kubecell-system").Watch(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(w.Stop)
	go func() { // ends with the watch
		for event := range w.ResultChan() {
			secret, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			if h, err := envelope.HeaderOf(secret); err == nil {
				arrived <- stored{secret.GetName() + " " + h.ResourceVersion, time.Now()}
			}
		}
	}()
}
