package router_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestACellThatWasFailedOverTakesNoRawWrites: it may be read for debugging, before it is frozen as well.
func TestACellThatWasFailedOverTakesNoRawWrites(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "raw")
	b.phase(t, v1alpha1.RingStable)
	b.lay(t, "cell-2", ns, "x", "plain")
	path := "/cells/cell-2/api/v1/namespaces/" + ns + "/configmaps/x"
	write := func() (int, string) {
		return b.send(t, http.MethodPatch, path, "application/merge-patch+json", `{"data":{"a":"b"}}`)
	}
	if code, body := write(); code != http.StatusOK {
		t.Fatalf("before: %d %s", code, body)
	}
	b.unavailable(t, "cell-2")
	t.Cleanup(func() { b.unavailable(t) })
	var code int
	var body string
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(context.Context) (bool, error) {
		code, body = write()
		return code != http.StatusOK, nil // until the router knows
	})
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, "cell cell-2 does not answer: it was failed over, and takes no writes") {
		t.Errorf("a write: %v, %d %s; want 503", err, code, body)
	}
	if code, body := get(t, b.router, path, ""); code != http.StatusOK {
		t.Errorf("a read: %d %s", code, body)
	}
}

// TestRawWritesForgeNoMarks: nor do they drop any.
func TestRawWritesForgeNoMarks(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "rawmarks")
	b.marked(t, ns, "x")
	b.moved(t)
	cell, _ := b.cellOf(t, ns, "x")
	path := "/cells/" + cell + "/api/v1/namespaces/" + ns + "/configmaps"
	for _, test := range []struct {
		method, path, contentType, body string
		want                            int
	}{
		{http.MethodPatch, path + "/x", "application/merge-patch+json", `{"metadata":{"annotations":{"kubecell.io/placement-epoch":"99"}}}`, http.StatusForbidden},
		{http.MethodPatch, path + "/x", "application/merge-patch+json", `{"metadata":{"labels":null}}`, http.StatusForbidden},
		{http.MethodPost, path, "application/json", `{"metadata":{"name":"y","annotations":{"kubecell.io/replicated-from":"z"}}}`, http.StatusForbidden},
		{http.MethodPut, path + "/x", "application/yaml", "metadata: {name: x}\ndata: {k: v}\n", http.StatusOK},
		{http.MethodPatch, path + "/x", "application/merge-patch+json", `{"data":{"a":"b"}}`, http.StatusOK},
	} {
		if code, body := b.send(t, test.method, test.path, test.contentType, test.body); code != test.want {
			t.Errorf("%s %s %s: %d %s; want %d", test.method, test.path, test.body, code, body, test.want)
		}
		b.wantMarks(t, test.body, ns, "x")
	}
}
