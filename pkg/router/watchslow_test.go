package router_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
)

// Clients that read nothing of a watch are dropped, over HTTP/1.1 and HTTP/2, merged or passed on; one that reads has
// every event meanwhile.
func TestASlowClientIsDroppedAndHoldsNobodyUp(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "slow")
	config, _ := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.SlowClient = 2 * time.Second })
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	written, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Stop()
	cell, _ := b.cellOf(t, ns, "large")
	merged := fmt.Sprintf("/api/v1/namespaces/%s/configmaps?watch=true", ns)
	openStream(t.Context(), t, config, merged)
	openStream(t.Context(), t, config, "/cells/"+cell+merged)
	conn := dialTLS(t, config)
	if _, err := io.WriteString(conn, "GET "+merged+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	awaitStreams(t, config, 4)

	// More than the buffers on the way hold: those of both ends of a connection, and a stream's window.
	const rounds = 40
	for i := range rounds {
		written.Data = map[string]string{"round": fmt.Sprint(i), "text": strings.Repeat("x", 700<<10)}
		if written, err = maps.Update(t.Context(), written, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := nextRound(t, reader); got != fmt.Sprint(i) {
			t.Fatalf("round %s came; want %d", got, i)
		}
	}
	awaitStreams(t, config, 1)
}

// nextRound is the round that the next change tells of.
func nextRound(t *testing.T, w watch.Interface) string {
	t.Helper()
	for e := range w.ResultChan() {
		if e.Type == watch.Modified {
			return e.Object.(*corev1.ConfigMap).Data["round"]
		}
	}
	t.Fatal("the watch ended")
	return ""
}

// awaitStreams waits until the router serves as many requests without an end.
func awaitStreams(t *testing.T, config *rest.Config, want int) {
	t.Helper()
	line := fmt.Sprintf("kubecell_router_requests_in_flight{kind=\"longRunning\"} %d\n", want)
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		code, body := get(t, config, "/metrics", "")
		return code == http.StatusOK && strings.Contains(body, line), nil
	})
	if err != nil {
		_, body := get(t, config, "/metrics", "")
		t.Fatalf("the metrics never said %s: %s", line, body)
	}
}
