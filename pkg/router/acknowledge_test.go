package router_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
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
	return b.editRing(t, func(s *v1alpha1.RingStatus) { s.Window++ })
}

// editRing changes the status of the ring, also when the test has ended.
func (b *bed) editRing(t *testing.T, edit func(*v1alpha1.RingStatus)) *v1alpha1.Ring {
	t.Helper()
	c, err := client.New(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	ring, err := c.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	edit(&ring.Status)
	if ring, err = c.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{}); err != nil {
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
	b.webhook(t, p.Old(), namespace, "configmaps", admissionregistrationv1.Create, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
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

// slowCreate begins to create something and returns once the router reads the body. end sends that and returns the answer.
func (b *bed) slowCreate(t *testing.T, path, body string) (end func() (code int, body string)) {
	t.Helper()
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	begun := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.router.Host+path, read)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue")
	code, said := 0, []byte(nil)
	answered := make(chan error, 1)
	go func() {
		answer, err := client.Do(request)
		if err == nil {
			code = answer.StatusCode
			said, err = io.ReadAll(answer.Body)
			_ = answer.Body.Close()
		}
		answered <- err
	}()
	select {
	case <-begun:
	case err := <-answered:
		t.Fatalf("answered before the body was sent: %v", err)
	}
	return func() (int, string) {
		t.Helper()
		if _, err := io.WriteString(write, body); err != nil {
			t.Fatal(err)
		}
		_ = write.Close()
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		return code, string(said)
	}
}

// TestAReplicatedObjectIsOneInTheNextEpochToo: a create that meets a new ring while its body comes is replicated
// as any other.
func TestAReplicatedObjectIsOneInTheNextEpochToo(t *testing.T) {
	b := newMovingBed(t)
	created := b.slowCreate(t, "/api/v1/namespaces", `{"metadata":{"generateName":"late-"}}`)
	b.phase(t, v1alpha1.RingRebalancing)
	code, body := created()
	var ns corev1.Namespace
	if err := json.Unmarshal([]byte(body), &ns); err != nil || code != http.StatusCreated || !slices.Contains(ns.Finalizers, v1alpha1.FinalizerCells) {
		t.Fatalf("%v, %d %s; want a namespace with the federation's finalizer", err, code, body)
	}
	for name, config := range b.cells {
		if _, err := kube(t, config).CoreV1().Namespaces().Get(t.Context(), ns.Name, metav1.GetOptions{}); err != nil {
			t.Errorf("in %s, once it was answered: %v", name, err)
		}
	}
}

func TestAWindowIsAcknowledgedWhenEarlierWritesAreFinished(t *testing.T) {
	b := newBed(t)
	runRouter(t, b.rcp, t.TempDir())
	ns := b.namespace(t, "acknowledge")
	b.awaitAcknowledged(t, b.nextWindow(t), 2)

	// One that is still being sent holds up nobody.
	sent := b.slowCreate(t, "/api/v1/namespaces/"+ns+"/configmaps", `{"metadata":{"name":"slow"}}`)
	b.awaitAcknowledged(t, b.nextWindow(t), 2)
	if code, body := sent(); code != http.StatusCreated {
		t.Errorf("the slow create: %d %s", code, body)
	}

	end := b.heldWrite(t, ns, "x")
	ring := b.nextWindow(t)
	b.awaitAcknowledged(t, ring, 1) // by the router that has no write in flight
	end()
	b.awaitAcknowledged(t, ring, 2)
	if got := b.holders(t, ns, "x"); len(got) != 1 {
		t.Errorf("it was made in %v; want one cell", got)
	}
}

// TestAStoppingRouterAcknowledges: as long as its Lease stands a rebalance waits for it, and it lets requests finish.
func TestAStoppingRouterAcknowledges(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "stopping")
	b.awaitAcknowledged(t, b.nextWindow(t), 1)
	config, stop := startRouter(t, b.rcp, t.TempDir())
	b.awaitAcknowledged(t, b.nextWindow(t), 2)
	sent := (&bed{router: config}).slowCreate(t, "/api/v1/namespaces/"+ns+"/configmaps", `{"metadata":{"name":"slow"}}`)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	until(t, "the router takes no more connections", func(ctx context.Context) bool {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(config.Host, "https://"))
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	})
	b.awaitAcknowledged(t, b.nextWindow(t), 2)
	if code, body := sent(); code != http.StatusCreated {
		t.Errorf("what was in flight: %d %s", code, body)
	}
	<-stopped
}
