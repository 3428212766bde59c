package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	// workloadIP is the address of the pods that a proxy reaches, one that documentation may use (RFC 5737). Apiservers
	// proxy to no address of the loopback device, the only one on which tests listen.
	workloadIP   = "192.0.2.1"
	workloadPort = 8080
)

// workloads answers what apiservers send to pods.
var workloads = &workload{more: make(chan struct{})}

// workload is what runs in each pod that has an address.
type workload struct {
	// more lets an answer to /slowly go on, which stops after its first line.
	more chan struct{}
}

// serveWorkloads makes the workloads the proxy for HTTP of all control planes that this process starts: apiservers send
// through it what they proxy, and nothing that is meant for the loopback device.
func serveWorkloads() (end func(), err error) {
	server := httptest.NewServer(workloads)
	return server.Close, os.Setenv("HTTP_PROXY", server.URL)
}

func (l *workload) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/moved":
		http.Redirect(w, r, "/orders?id=2", http.StatusFound)
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<html><head></head><body><a href="/orders">orders</a></body></html>`)
	case "/teapot":
		w.Header().Add("Warning", `299 - "short and stout"`)
		w.Header().Set("Retry-After", "7")
		http.Error(w, "a teapot", http.StatusTeapot)
	case "/crowded":
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many orders", http.StatusTooManyRequests)
	case "/slowly":
		fmt.Fprintln(w, "one")
		w.(http.Flusher).Flush()
		select {
		case <-l.more:
			fmt.Fprintln(w, "two")
		case <-r.Context().Done():
		}
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Orders", r.Header.Get("Orders"))
		fmt.Fprintf(w, "%s %s as %s, seen at %s: %q", r.Method, r.URL, r.Header.Get("Content-Type"), r.Header.Get("X-Forwarded-Uri"), body)
		for name := range r.Header { // who asks is no business of a workload
			if name == "Authorization" || strings.HasPrefix(name, "X-Remote-") || strings.HasPrefix(name, "Impersonate-") {
				fmt.Fprintf(w, "; %s", name)
			}
		}
	}
}

// workloadIn makes a pod that runs a workload in a cell, and the endpoint of a service of its name.
func (b *bed) workloadIn(t *testing.T, cell, ns, name string) {
	t.Helper()
	core := kube(t, b.cells[cell]).CoreV1()
	b.pod(t, b.cells[cell], ns, name)
	pod, err := core.Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, workloadIP, []corev1.PodIP{{IP: workloadIP}}
	if _, err := core.Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	endpoints := &corev1.Endpoints{ //nolint:staticcheck // apiservers read it
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck // as above
			Addresses: []corev1.EndpointAddress{{IP: workloadIP, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: name}}},
			Ports:     []corev1.EndpointPort{{Port: workloadPort}},
		}},
	}
	if _, err := core.Endpoints(ns).Create(t.Context(), endpoints, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestAProxyReachesItsWorkload: what is behind a service and a pod answers through the router what it answers through
// its cell, whatever it is asked and whatever it says.
func TestAProxyReachesItsWorkload(t *testing.T) {
	b := newBed(t)
	ns, name := b.namespace(t, "workloads"), "orders"
	if _, err := kube(t, impatient(b.router)).CoreV1().Services(ns).Create(t.Context(), service(name, workloadPort), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cell, _ := b.cellOf(t, ns, name)
	b.workloadIn(t, cell, ns, name)
	for _, resource := range []string{"services", "pods"} {
		proxy := fmt.Sprintf("/api/v1/namespaces/%s/%s/http:%s:%d/proxy", ns, resource, name, workloadPort)
		for _, ask := range []struct{ method, at, body string }{
			{http.MethodGet, "/orders?id=1&watch=true&limit=3", ""},
			{http.MethodGet, "/orders//1/%2F?labelSelector=%3D%3D", ""},
			{http.MethodGet, "", ""},
			{http.MethodHead, "/orders", ""},
			{http.MethodOptions, "/orders", ""},
			{http.MethodPost, "/orders?dryRun=All", "an \x00 order"},
			{http.MethodPut, "/orders/1?resourceVersion=theirs", `{"metadata":{"name":"another"}}`},
			{http.MethodPatch, "/orders/1", "- a change"},
			{http.MethodDelete, "/orders/1", `{"preconditions":{"uid":"theirs"}}`},
			{http.MethodGet, "/moved", ""},
			{http.MethodGet, "/page", ""},
			{http.MethodGet, "/teapot", ""},
			{http.MethodPost, "/crowded", strings.Repeat("an order ", 100_000)},
		} {
			direct := proxied(t, b.cells[cell], ask.method, proxy+ask.at, ask.body)
			through := proxied(t, b.router, ask.method, proxy+ask.at, ask.body)
			if diff := cmp.Diff(direct, through); diff != "" {
				t.Errorf("%s %s of %s: -direct +through the router:\n%s", ask.method, ask.at, resource, diff)
			}
			if ask.at == "/orders/1" && !strings.HasPrefix(through.Body, ask.method+" http://") {
				t.Errorf("%s %s of %s: %+v; want the workload's answer", ask.method, ask.at, resource, through)
			}
		}
		b.wantFlushed(t, proxy+"/slowly")
	}
}

// proxyAnswer is what a client sees of one.
type proxyAnswer struct {
	Code   int
	Header http.Header
	Body   string
}

// proxied sends a request to what is behind a proxy and returns the answer, without what differs from one to the next.
func proxied(t *testing.T, config *rest.Config, method, path, body string) proxyAnswer {
	t.Helper()
	transport, err := rest.TransportFor(config) // which follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/x-order")
	r.Header.Set("Orders", "all of them")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"Date", "Audit-Id", "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"} {
		answer.Header.Del(own)
	}
	return proxyAnswer{Code: answer.StatusCode, Header: answer.Header, Body: string(data)}
}

// wantFlushed fails the test unless the first line of an answer arrives before the second one is written.
func (b *bed) wantFlushed(t *testing.T, path string) {
	t.Helper()
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.router.Host+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for _, want := range []string{"one\n", "two\n"} {
		line, err := lines.ReadString('\n')
		if err != nil || line != want {
			t.Fatalf("%s: %q, %v; want %q", path, line, err, want)
		}
		if want == "one\n" {
			workloads.more <- struct{}{}
		}
	}
}
