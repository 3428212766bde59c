package router_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// noEndpoints is what a cell says of a proxy to a service that it has, behind which nobody listens.
const noEndpoints = "no endpoints available for service"

// service is one of a port alone.
func service(name string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: port}}},
	}
}

// TestAProxyIsSentWhereItsObjectIs: client-go writes scheme and port into the name, and both hash elsewhere.
func TestAProxyIsSentWhereItsObjectIs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "proxies")
	name := ""
	for i := 0; name == ""; i++ {
		try := fmt.Sprintf("x-%d", i)
		cell, _ := b.cellOf(t, ns, try)
		withPort, _ := b.cellOf(t, ns, try+":80")
		withScheme, _ := b.cellOf(t, ns, "http:"+try+":80")
		if cell != withPort && cell != withScheme {
			name = try
		}
	}
	core := kube(t, impatient(b.router)).CoreV1()
	if _, err := core.Services(ns).Create(t.Context(), service(name, 80), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cell, _ := b.cellOf(t, ns, name)
	b.noEndpoints(t, cell, ns, name)
	for _, scheme := range []string{"", "http"} {
		_, err := core.Services(ns).ProxyGet(scheme, name, "80", "/", nil).DoRaw(t.Context())
		if !apierrors.IsServiceUnavailable(err) { // which has no endpoints
			t.Errorf("service, scheme %q: %v; want it unavailable, as its cell says", scheme, err)
		}
	}

	// Not where pods of the namespace are looked for first.
	p, _ := b.snapshot(t).Table.LookupKey(ns)
	for cell, config := range b.cells {
		if cell == p.Old() {
			continue
		}
		b.pod(t, config, ns, cell)
		_, err := core.Pods(ns).ProxyGet("http", cell, "80", "/", nil).DoRaw(t.Context())
		if !apierrors.IsBadRequest(err) { // which has no address
			t.Errorf("pod in %s: %v; want a bad request, as its cell says", cell, err)
		}
	}
}

// noEndpoints says of a service in a cell that it has none, as the cell's own controller would.
func (b *bed) noEndpoints(t *testing.T, cell, ns, name string) {
	t.Helper()
	none := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: name}} //nolint:staticcheck // apiservers read it
	if _, err := kube(t, b.cells[cell]).CoreV1().Endpoints(ns).Create(t.Context(), none, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// pod makes one directly in a cell.
func (b *bed) pod(t *testing.T, config *rest.Config, ns, name string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/c:1"}}}}
	until(t, "the pod is made", func(ctx context.Context) bool {
		_, err := kube(t, config).CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsForbidden(err) { // until the cell has made the default service account
			t.Fatal(err)
		}
		return err == nil
	})
}

// TestAProxyTakesAnyEncoding: what is behind it may speak what no apiserver does. A real one proxies to nothing on the
// loopback device, and says so once it has taken the request.
func TestAProxyTakesAnyEncoding(t *testing.T) {
	b := newBed(t)
	const cell, path = "cell-1", "/api/v1/nodes/proxied/proxy/orders"
	k := newKubelet(t)
	k.join(t, b.rcp, "proxied") // nodes are the RCP's, and a cell's own where it is asked
	k.join(t, b.cells[cell], "proxied")
	for name, path := range map[string]string{"by its name": path, "raw": "/cells/" + cell + path} {
		for _, media := range []string{runtime.ContentTypeCBOR, "text/plain"} {
			code, body := b.send(t, http.MethodPost, path, media, "\xa1an order\x00")
			if code != http.StatusBadRequest || !strings.Contains(body, "address not allowed") {
				t.Errorf("%s, %s: %d %s; want that the address is not allowed", name, media, code, body)
			}
		}
	}
}

// layService puts a service into a cell, in the state of a move. Its port tells the cell.
func (b *bed) layService(t *testing.T, cell, ns, name, state string) {
	t.Helper()
	if state == "absent" {
		return
	}
	object := service(name, map[string]int32{"cell-1": 8001, "cell-2": 8002}[cell])
	if state != "plain" {
		object.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: state}
	}
	if _, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().Services(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.noEndpoints(t, cell, ns, name)
}

// TestAProxyToAMovingServiceIsNoWriteOfIt: it is sent where the service is, whatever its move has come to, and its
// parameters are the workload's own.
func TestAProxyToAMovingServiceIsNoWriteOfIt(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "movingproxies")
	for i, test := range []struct {
		old, now string
		port     int // of the cell that is to answer; 0 for none
	}{
		{"plain", "absent", 8001},
		{"migrating", "incoming", 8001},
		{"migrated", "incoming", 8002},
		{"migrated", "plain", 8002},
		{"absent", "plain", 8002},
		{"absent", "migrated", 0},
		{"absent", "absent", 0},
	} {
		name := fmt.Sprintf("x-%d", i)
		b.layService(t, "cell-1", ns, name, test.old)
		b.layService(t, "cell-2", ns, name, test.now)
		for _, port := range []int{8001, 8002} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				path := fmt.Sprintf("/api/v1/namespaces/%s/services/http:%s:%d/proxy/orders?resourceVersion=theirs", ns, name, port)
				code, body := b.send(t, method, path, "text/plain", "an order")
				reached := strings.Contains(body, noEndpoints)
				if reached != (port == test.port) || test.port == 0 && code != http.StatusNotFound {
					t.Errorf("%s in the old cell and %s in the new one: %s of port %d: %d %s", test.old, test.now, method, port, code, body)
				}
			}
		}
	}
	b.wantNotWaitedFor(t, ns, "x-0")
}

// wantNotWaitedFor holds a proxy to a service in cell-1 and fails the test where a window waits for its end.
func (b *bed) wantNotWaitedFor(t *testing.T, ns, name string) {
	t.Helper()
	reached, released := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	b.webhook(t, "cell-1", ns, "services/proxy", admissionregistrationv1.Connect, func(*admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
		select {
		case reached <- struct{}{}:
		default:
		}
		<-released
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	t.Cleanup(release)
	path := "/api/v1/namespaces/" + ns + "/services/" + name + ":8001/proxy/"
	answered := make(chan struct{}, 1)
	client := kube(t, impatient(b.router)).CoreV1().RESTClient()
	ask := func() { client.Post().AbsPath(path).Do(t.Context()); answered <- struct{}{} }
	// The cell asks only once it knows of the webhook.
	go ask()
	patience := time.After(pollTimeout)
	for held := false; !held; {
		select {
		case <-patience:
			t.Fatal("the cell never asks the webhook")
		case <-reached:
			held = true
		case <-answered:
			go ask()
		}
	}
	b.awaitAcknowledged(t, b.nextWindow(t), 1)
	release()
	<-answered
}
