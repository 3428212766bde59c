package router_test

import (
	"strings"
	"testing"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// A browser watches by WebSocket, each event a message.
func TestAWatchOverWebSocket(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "socket")
	tls, err := rest.TLSConfigFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	tls.NextProtos = []string{"http/1.1"}
	url := strings.Replace(b.router.Host, "https://", "wss://", 1) + "/api/v1/namespaces/" + ns + "/secrets?watch=1"
	config, err := websocket.NewConfig(url, b.router.Host)
	if err != nil {
		t.Fatal(err)
	}
	config.TlsConfig = tls
	ws, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
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
