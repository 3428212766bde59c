package router_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestAWriteOfWhatMovesIsToComeAgain in a second, as the header says and the Status does.
func TestAWriteOfWhatMovesIsToComeAgain(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "come-again")
	transport, err := rest.TransportFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	for name, states := range map[string][2]string{"copied": {"migrating", "incoming"}, "flipped": {"migrated", "incoming"}} {
		b.lay(t, "cell-1", ns, name, states[0])
		b.lay(t, "cell-2", ns, name, states[1])
		object := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"},"data":{"new":"1"}}`
		for _, write := range []struct{ method, at, media, body string }{
			{http.MethodPost, "", "application/json", object},
			{http.MethodPut, "/" + name, "application/json", object},
			{http.MethodPatch, "/" + name, string(types.MergePatchType), object},
			{http.MethodPatch, "/" + name + "?fieldManager=test&force=true", string(types.ApplyYAMLPatchType), object},
			{http.MethodDelete, "/" + name, "application/json", ""},
		} {
			request, err := http.NewRequestWithContext(t.Context(), write.method,
				b.router.Host+"/api/v1/namespaces/"+ns+"/configmaps"+write.at, strings.NewReader(write.body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", write.media)
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			var status metav1.Status
			err = json.NewDecoder(answer.Body).Decode(&status)
			answer.Body.Close()
			if answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "1" {
				t.Errorf("%s of one that is %s: %s, Retry-After %q; want 429, and a second", write.method, name, answer.Status, answer.Header.Get("Retry-After"))
			}
			if err != nil || status.Reason != metav1.StatusReasonTooManyRequests || status.Details == nil || status.Details.RetryAfterSeconds != 1 {
				t.Errorf("%s of one that is %s: %+v, %v; want a Status that says the same", write.method, name, status, err)
			}
		}
	}
}

// TestAnOrdinaryClientWritesThroughAMove: what it writes while the object is closed it writes again by itself, until the
// object has moved.
func TestAnOrdinaryClientWritesThroughAMove(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "ordinary")
	written := map[string]string{"new": "1"}
	for verb, write := range map[string]func(kubernetes.Interface) error{
		"update": func(client kubernetes.Interface) error {
			_, err := client.CoreV1().ConfigMaps(ns).Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "update"}, Data: written}, metav1.UpdateOptions{})
			return err
		},
		"patch": func(client kubernetes.Interface) error {
			_, err := client.CoreV1().ConfigMaps(ns).Patch(t.Context(), "patch", types.MergePatchType, []byte(`{"data":{"new":"1"}}`), metav1.PatchOptions{})
			return err
		},
	} {
		t.Run(verb, func(t *testing.T) {
			b.lay(t, "cell-1", ns, verb, "migrating")
			b.lay(t, "cell-2", ns, verb, "incoming")
			refused := make(chan struct{}, 1)
			config := rest.CopyConfig(b.router)
			config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					answer, err := rt.RoundTrip(r)
					if err == nil && answer.StatusCode == http.StatusTooManyRequests {
						select {
						case refused <- struct{}{}:
						default:
						}
					}
					return answer, err
				})
			})
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- write(client) }()
			select {
			case <-refused:
			case err := <-done:
				t.Fatalf("the write of what is closed ended with %v; want a 429 first", err)
			}
			b.relabel(t, "cell-1", ns, verb, `"migrated"`)
			b.relabel(t, "cell-2", ns, verb, "null")
			if err := <-done; err != nil {
				t.Fatalf("the write: %v; want it to come through", err)
			}
			for cell, want := range map[string]string{"cell-1": "", "cell-2": "1"} {
				object, err := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns).Get(t.Context(), verb, metav1.GetOptions{})
				if err != nil || object.Data["new"] != want {
					t.Errorf("in %s: %v, %v; want the write in cell-2 alone", cell, object, err)
				}
			}
		})
	}
}

// relabel is a step of a move: value is JSON.
func (b *bed) relabel(t *testing.T, cell, ns, name, value string) {
	t.Helper()
	patch := `{"metadata":{"labels":{"` + v1alpha1.LabelRebalanceStatus + `":` + value + `}}}`
	_, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(ns).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
