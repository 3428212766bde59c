package router_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router"
)

// policies are the propagation policies of the deletions that cells were asked for, by cell and name of the config map.
type policies struct {
	mu  sync.Mutex
	all map[string]metav1.DeletionPropagation // guarded by mu
}

// record has a cell tell of each deletion of a config map in a namespace. There is one of that name to try it with.
func (p *policies) record(t *testing.T, b *bed, cell, ns, name string) {
	t.Helper()
	var asked atomic.Bool
	b.webhook(t, cell, ns, "configmaps", admissionregistrationv1.Delete, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
		asked.Store(true)
		var options metav1.DeleteOptions
		if err := json.Unmarshal(review.Request.Options.Raw, &options); err != nil {
			t.Error(err)
		}
		if len(options.DryRun) == 0 {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.all[cell+" "+review.Request.Name] = "none"
			if options.PropagationPolicy != nil {
				p.all[cell+" "+review.Request.Name] = *options.PropagationPolicy
			}
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	there := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns)
	until(t, "the webhook of "+cell+" is asked", func(ctx context.Context) bool {
		return there.Delete(ctx, name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}) == nil && asked.Load()
	})
}

// waitingFor has a router wait so long for each object of a collection to arrive.
func waitingFor(patience time.Duration) func(*router.Config) {
	return func(c *router.Config) { c.MovingPatience = patience }
}

// TestACollectionIsDeletedThroughAMoveWithoutAFence: what the move left keeps the UID of the object, and no fence keeps it
// from being deleted in the place of the object.
func TestACollectionIsDeletedThroughAMoveWithoutAFence(t *testing.T) {
	b := newMovingBed(t, waitingFor(5*time.Minute))
	ns := b.namespace(t, "collection-unfenced")
	for _, o := range []struct{ name, old, now string }{
		{"a-kept", "absent", "plain"},
		{"b-stays", "plain", "absent"},
		{"c-arrives", "migrating", "incoming"},
	} {
		b.lay(t, "cell-1", ns, o.name, o.old)
		b.lay(t, "cell-2", ns, o.name, o.now)
	}
	b.layDependent(t, "cell-1", ns, "dependent", v1alpha1.Migrating)
	b.layDependent(t, "cell-1", ns, "before", "")
	told := &policies{all: map[string]metav1.DeletionPropagation{}}
	told.record(t, b, "cell-1", ns, "b-stays")
	told.record(t, b, "cell-2", ns, "a-kept")

	client := kube(t, unfenced(impatient(b.router))).CoreV1()
	background := metav1.DeletePropagationBackground
	maps, dependents := make(chan error, 1), make(chan error, 1)
	go func() {
		maps <- client.ConfigMaps(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: &background},
			metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt,metadata.name!=a-kept"})
	}()
	go func() {
		dependents <- client.ReplicationControllers(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{})
	}()
	in1 := kube(t, fence.AsMover(b.cells["cell-1"])).CoreV1()
	until(t, "what does not move is deleted", func(ctx context.Context) bool {
		_, one := in1.ConfigMaps(ns).Get(ctx, "b-stays", metav1.GetOptions{})
		_, other := in1.ReplicationControllers(ns).Get(ctx, "before", metav1.GetOptions{})
		return apierrors.IsNotFound(one) && apierrors.IsNotFound(other)
	})
	b.awaitAcknowledged(t, b.nextWindow(t), 1)
	label := func(value string) []byte {
		return []byte(`{"metadata":{"labels":{"` + v1alpha1.LabelRebalanceStatus + `":` + value + `}}}`)
	}
	b.layDependent(t, "cell-2", ns, "dependent", v1alpha1.Incoming) // before there is a tombstone, as in a move
	if _, err := in1.ReplicationControllers(ns).Patch(t.Context(), "dependent", types.MergePatchType, label(`"migrated"`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	in2 := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1()
	if _, err := in2.ReplicationControllers(ns).Patch(t.Context(), "dependent", types.MergePatchType, label("null"), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := in1.ConfigMaps(ns).Patch(t.Context(), "c-arrives", types.MergePatchType, label(`"migrated"`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := in2.ConfigMaps(ns).Patch(t.Context(), "c-arrives", types.MergePatchType, label("null"), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	if err := <-dependents; err != nil {
		t.Errorf("Dependents: %v", err)
	}
	if err := <-maps; err != nil {
		t.Errorf("Config maps: %v", err)
	}
	for name, want := range map[string][]string{
		"a-kept": {"cell-2"}, "b-stays": nil, "c-arrives": {"cell-1"},
	} {
		if diff := cmp.Diff(want, b.holders(t, ns, name)); diff != "" {
			t.Errorf("%s is left in (-want +got):\n%s", name, diff)
		}
	}
	_, tombstone := in1.ReplicationControllers(ns).Get(t.Context(), "dependent", metav1.GetOptions{})
	_, moved := in2.ReplicationControllers(ns).Get(t.Context(), "dependent", metav1.GetOptions{})
	if tombstone != nil || !apierrors.IsNotFound(moved) {
		t.Errorf("tombstone of the Dependent: %v; where it moved to: %v; want the one kept, the other deleted", tombstone, moved)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	want := map[string]metav1.DeletionPropagation{"cell-1 b-stays": background, "cell-2 c-arrives": background}
	if diff := cmp.Diff(want, told.all); diff != "" {
		t.Errorf("propagation of the deletions that cells were asked for (-want +got):\n%s", diff)
	}
	// One of its objects was found in one cell; it was served by several.
	series := `kubecell_router_requests_total{cell="several",code="200",group="",resource="replicationcontrollers",subresource="",verb="deletecollection"}`
	until(t, series+" is 1", func(context.Context) bool { return measured(t, b.router, "/metrics", series) == 1 })
}

// TestWhatMovesOnIsToBeDeletedLater: the answer says how many were deleted.
func TestWhatMovesOnIsToBeDeletedLater(t *testing.T) {
	b := newMovingBed(t, waitingFor(time.Millisecond))
	ns := b.namespace(t, "collection-moves-on")
	b.lay(t, "cell-1", ns, "b-stays", "plain")
	b.lay(t, "cell-1", ns, "d-waits", "migrating")
	var retryAfter atomic.Value
	config := rest.CopyConfig(b.router)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := rt.RoundTrip(r)
			if err == nil {
				if answer.StatusCode == http.StatusTooManyRequests {
					retryAfter.Store(answer.Header.Get("Retry-After"))
				}
				answer.Header.Del("Retry-After") // the client shall not come again
			}
			return answer, err
		})
	})
	err := kube(t, config).CoreV1().ConfigMaps(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{},
		metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	if !apierrors.IsTooManyRequests(err) || !strings.Contains(err.Error(), "deleted 1 of 2 objects; cell-1: ") || retryAfter.Load() != "1" {
		t.Errorf("%v, Retry-After %v; want 429 that says how many of them were deleted, and a second", err, retryAfter.Load())
	}
	for name, want := range map[string][]string{"b-stays": nil, "d-waits": {"cell-1"}} {
		if diff := cmp.Diff(want, b.holders(t, ns, name)); diff != "" {
			t.Errorf("%s is left in (-want +got):\n%s", name, diff)
		}
	}
}

// TestWhatIsMadeAnewDuringAMoveIsNotDeleted with a collection that it was not listed in.
func TestWhatIsMadeAnewDuringAMoveIsNotDeleted(t *testing.T) {
	b := newMovingBed(t, waitingFor(5*time.Minute))
	ns := b.namespace(t, "collection-anew")
	b.lay(t, "cell-1", ns, "b-stays", "plain")
	b.lay(t, "cell-1", ns, "c-anew", "migrating")
	deleted := make(chan error, 1)
	go func() {
		deleted <- kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{},
			metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	}()
	in1 := kube(t, fence.AsMover(b.cells["cell-1"])).CoreV1().ConfigMaps(ns)
	until(t, "what does not move is deleted", func(ctx context.Context) bool {
		_, err := in1.Get(ctx, "b-stays", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	// As long as the one that was listed is there it counts: at no instant is there none.
	b.lay(t, "cell-2", ns, "c-anew", "plain")
	if err := in1.Delete(t.Context(), "c-anew", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-deleted; err != nil {
		t.Errorf("%v; want what is gone to be no failure", err)
	}
	if diff := cmp.Diff([]string{"cell-2"}, b.holders(t, ns, "c-anew")); diff != "" {
		t.Errorf("it is in (-want +got):\n%s", diff)
	}
}

// TestAnAnswerThatBreaksOffFailsItsDeletionAlone: nobody reads the refusal before it is passed on, and it ends in the middle.
func TestAnAnswerThatBreaksOffFailsItsDeletionAlone(t *testing.T) {
	b := newMovingBed(t, waitingFor(5*time.Minute))
	ns := b.namespace(t, "collection-broken-off")
	b.lay(t, "cell-1", ns, "b-stays", "plain")
	b.lay(t, "cell-1", ns, "c-returns", "migrating")
	noise := make([]byte, 1<<20) // takes a while at the gate
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	var inForce atomic.Bool
	asked, refuse := make(chan struct{}, 1), make(chan struct{})
	b.webhook(t, "cell-1", ns, "configmaps", admissionregistrationv1.Delete, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
		inForce.Store(true)
		if dry := review.Request.DryRun; dry != nil && *dry || review.Request.Name != "c-returns" {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		asked <- struct{}{}
		<-refuse
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusInternalServerError, Message: hex.EncodeToString(noise)}}
	})
	there := kube(t, b.cells["cell-1"]).CoreV1().ConfigMaps(ns)
	until(t, "the webhook is asked", func(ctx context.Context) bool {
		return there.Delete(ctx, "b-stays", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}) == nil && inForce.Load()
	})
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	gate := b.gate(t, "cell-1", maps, "b-stays")
	deleted := make(chan error, 1)
	go func() {
		deleted <- maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	}()
	until(t, "what does not move is deleted", func(ctx context.Context) bool {
		_, err := there.Get(ctx, "b-stays", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	b.relabel(t, "cell-1", ns, "c-returns", "null")
	<-asked
	const answers = `kubecell_router_upstream_duration_seconds_count{cell="cell-1"}`
	before := measured(t, b.router, "/metrics", answers)
	gate.Slow(200 * time.Millisecond)
	close(refuse)
	until(t, "the answer begins", func(context.Context) bool { return measured(t, b.router, "/metrics", answers) > before })
	gate.Refuse()
	if err := <-deleted; !named503(err, "cell-1") || !strings.Contains(err.Error(), "deleted 1 of 2 objects") || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("%v; want 503 that names cell-1, how many were deleted and why not all", err)
	}
	gate.Slow(0)
	gate.Pass()
	until(t, "the router goes on", answered(maps, "c-returns"))
}
