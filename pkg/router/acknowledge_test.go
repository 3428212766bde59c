package router_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
)

// acknowledged is the epoch and window that the Leases of all routers have, by the router's name.
func (b *bed) acknowledged(t *testing.T) map[string][2]int64 {
	t.Helper()
	leases, err := kube(t, b.rcp).CoordinationV1().Leases(v1alpha1.Namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][2]int64{}
	for _, lease := range leases.Items {
		var numbers [2]int64
		for i, annotation := range []string{v1alpha1.AnnotationEpoch, v1alpha1.AnnotationWindow} {
			if numbers[i], err = strconv.ParseInt(lease.Annotations[annotation], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		out[lease.Name] = numbers
	}
	return out
}

// nextWindow asks all routers for an acknowledgement.
func (b *bed) nextWindow(t *testing.T) *v1alpha1.Ring {
	t.Helper()
	c, err := client.New(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ring.Status.Window++
	if ring, err = c.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ring
}

// awaitAcknowledged waits until so many routers acknowledge what the ring says.
func (b *bed) awaitAcknowledged(t *testing.T, ring *v1alpha1.Ring, routers int) {
	t.Helper()
	want := [2]int64{ring.Status.Epoch, ring.Status.Window}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		n := 0
		for _, got := range b.acknowledged(t) {
			if got == want {
				n++
			}
		}
		return n == routers, nil
	})
	if err != nil {
		t.Fatalf("acknowledged is %v; want %v from %d routers", b.acknowledged(t), want, routers)
	}
}

// heldWrite begins to create a config map and returns once its cell is about to store it. end lets it.
func (b *bed) heldWrite(t *testing.T, namespace, name string) (end func()) {
	t.Helper()
	p, _ := b.snapshot(t).Table.LookupKey(namespace + "/" + name)
	reached, release := make(chan struct{}, 1), make(chan struct{})
	b.webhook(t, p.Old(), namespace, admissionregistrationv1.Create, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
		if review.Request.Name == name {
			select {
			case reached <- struct{}{}:
			default:
			}
			<-release
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	maps := kube(t, b.router).CoreV1().ConfigMaps(namespace)
	answered := make(chan error, 1)
	// The cell asks only once it knows of the webhook: until it has, others are made.
	for {
		go func() {
			_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			answered <- err
		}()
		select {
		case <-reached:
			return func() {
				t.Helper()
				close(release)
				if err := <-answered; err != nil {
					t.Fatal(err)
				}
			}
		case err := <-answered:
			if err != nil {
				t.Fatal(err)
			}
			if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// slowWrite begins to create a config map and returns once the router reads the body. end sends the rest of it.
func (b *bed) slowWrite(t *testing.T, namespace, name string) (end func()) {
	t.Helper()
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	begun := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.router.Host+"/api/v1/namespaces/"+namespace+"/configmaps", read)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue")
	answered := make(chan error, 1)
	go func() {
		answer, err := client.Do(request)
		if err == nil {
			err = answer.Body.Close()
		}
		answered <- err
	}()
	select {
	case <-begun:
	case err := <-answered:
		t.Fatalf("answered before the body was sent: %v", err)
	}
	return func() {
		t.Helper()
		body := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"}}`
		if _, err := io.WriteString(write, body); err != nil {
			t.Fatal(err)
		}
		_ = write.Close()
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWindowIsAcknowledgedWhenEarlierWritesAreFinished(t *testing.T) {
	b := newBed(t)
	runRouter(t, b.rcp, t.TempDir())
	ns := b.namespace(t, "acknowledge")
	b.awaitAcknowledged(t, b.nextWindow(t), 2)

	// One that is still being sent holds up nobody.
	sent := b.slowWrite(t, ns, "slow")
	b.awaitAcknowledged(t, b.nextWindow(t), 2)
	sent()

	end := b.heldWrite(t, ns, "x")
	ring := b.nextWindow(t)
	b.awaitAcknowledged(t, ring, 1) // by the router that has no write in flight
	end()
	b.awaitAcknowledged(t, ring, 2)
	if got := b.holders(t, ns, "x"); len(got) != 1 {
		t.Errorf("it was made in %v; want one cell", got)
	}
}
