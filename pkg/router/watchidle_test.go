package router_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router"
)

// A watch on which nothing happens for longer than a write may take is not taken for a slow client's.
func TestAQuietWatchLasts(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "quiet")
	config, _ := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.SlowClient = time.Second })
	secrets := kube(t, config).CoreV1().Secrets(ns)
	w, err := secrets.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for _, name := range []string{"before", "after"} {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		e, ok := <-w.ResultChan()
		if !ok {
			t.Fatalf("the watch ended before %s", name)
		}
		if got := e.Object.(*corev1.Secret).Name; got != name {
			t.Fatalf("%s came, want %s", got, name)
		}
		time.Sleep(3 * time.Second) // the quiet, several times what a write may take
	}
}
