package router_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// dialSocket opens a WebSocket at a path, by one of the protocols if there are any.
func dialSocket(t *testing.T, to *rest.Config, path string, protocols ...string) *websocket.Conn {
	t.Helper()
	tls, err := rest.TLSConfigFor(to)
	if err != nil {
		t.Fatal(err)
	}
	tls.NextProtos = []string{"http/1.1"}
	config, err := websocket.NewConfig(strings.Replace(to.Host, "https://", "wss://", 1)+path, to.Host)
	if err != nil {
		t.Fatal(err)
	}
	config.TlsConfig, config.Protocol = tls, protocols
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	ws, err := config.DialContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetDeadline(time.Now().Add(pollTimeout)); err != nil {
		t.Fatal(err)
	}
	return ws
}

// A browser watches by WebSocket, each event a message.
func TestAWatchOverWebSocket(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "socket")
	ws := dialSocket(t, b.router, "/api/v1/namespaces/"+ns+"/secrets?watch=1")
	secrets := kube(t, b.router).CoreV1().Secrets(ns)
	for _, name := range []string{"a", "b", "c", "d"} {
		made, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var event struct {
			Type   string
			Object corev1.Secret
		}
		if err := websocket.JSON.Receive(ws, &event); err != nil {
			t.Fatal(err)
		}
		if event.Type != "ADDED" || event.Object.Name != name || event.Object.ResourceVersion != made.ResourceVersion {
			t.Errorf("%s %s in version %s; want %s, made in version %s", event.Type, event.Object.Name, event.Object.ResourceVersion, name, made.ResourceVersion)
		}
	}
}

// TestAnExpiredWatchOverWebSocket says so in a message, which is the last.
func TestAnExpiredWatchOverWebSocket(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "old-socket")
	ws := dialSocket(t, b.router, "/api/v1/namespaces/"+ns+"/secrets?watch=1&resourceVersion="+version.Object{Raw: 5, Slot: 900}.String())
	var event struct {
		Type   string
		Object metav1.Status
	}
	if err := websocket.JSON.Receive(ws, &event); err != nil {
		t.Fatal(err)
	}
	if event.Type != "ERROR" || event.Object.Code != http.StatusGone || event.Object.Reason != metav1.StatusReasonExpired {
		t.Errorf("event = %+v; want 410", event)
	}
	if err := websocket.JSON.Receive(ws, &event); !errors.Is(err, io.EOF) {
		t.Errorf("then %+v, %v; want the end", event, err)
	}
}
