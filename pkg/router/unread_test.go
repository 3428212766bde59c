package router_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
)

// unreadSize is more than is kept of an answer for a client that does not read, in bytes.
const unreadSize = 64 << 10

// dialUnread is dialH2 for a client that takes no answer, which its window says.
func dialUnread(t *testing.T, config *rest.Config, method, path string) *h2 {
	t.Helper()
	c := dialH2(t, config, method, path)
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNobodyWaitsForAnAnswerToBeRead: a write is finished when its answer begins, whether it goes by the ring or to a cell
// that the client names.
func TestNobodyWaitsForAnAnswerToBeRead(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "answers-unread")
	in := "/api/v1/namespaces/" + ns + "/configmaps"
	cell, _ := b.cellOf(t, ns, "raw")
	for name, path := range map[string]string{"placed": in, "raw": "/cells/" + cell + in} {
		c := dialUnread(t, b.router, http.MethodPost, path)
		if err := c.open(1); err != nil {
			t.Fatal(err)
		}
		// A frame of data holds 16 KiB.
		body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{"text":"`, name)
		body += strings.Repeat("x", unreadSize) + `"}}`
		for part := range slices.Chunk([]byte(body), 16<<10) {
			if err := c.WriteData(1, false, part); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.WriteData(1, true, nil); err != nil {
			t.Fatal(err)
		}
		until(t, name+" is made", func(ctx context.Context) bool {
			_, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Get(ctx, name, metav1.GetOptions{})
			return err == nil
		})
	}
	b.awaitAcknowledged(t, b.nextWindow(t), 1)
}

// TestAnAnswerThatIsNotReadIsGivenUp, since it holds room that others need.
func TestAnAnswerThatIsNotReadIsGivenUp(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "answers-given-up")
	config, _ := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.SlowClient = time.Second })
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Data: map[string]string{"text": strings.Repeat("x", unreadSize)}}
	if _, err := kube(t, config).CoreV1().ConfigMaps(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cell, _ := b.cellOf(t, ns, "x")
	in := "/api/v1/namespaces/" + ns + "/configmaps"
	for name, path := range map[string]string{"one object": in + "/x", "a list": in, "raw": "/cells/" + cell + in} {
		c := dialUnread(t, config, http.MethodGet, path)
		if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers, EndHeaders: true, EndStream: true}); err != nil {
			t.Fatal(err)
		}
		for given := false; !given; {
			frame, err := c.ReadFrame()
			if err != nil {
				t.Fatalf("%s: the stream is not ended: %v", name, err)
			}
			_, given = frame.(*http2.RSTStreamFrame)
		}
	}
}
