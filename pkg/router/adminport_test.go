package router_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestTheAdminPortAnswersWithoutTheRCP: what has to be authorised by it is refused meanwhile.
func TestTheAdminPortAnswersWithoutTheRCP(t *testing.T) {
	b := newBed(t)
	gate := sandboxtest.NewGate(t, b.rcp.Host)
	rcp := rest.CopyConfig(b.rcp)
	rcp.Host = gate.URL()
	var admin string
	config, stop := startRouter(t, rcp, t.TempDir(), func(c *router.Config) {
		c.AdminListen = "127.0.0.1:0"
		c.AdminReady = func(url string) { admin = url }
	})
	if code, body := plain(t, admin+"/metrics"); code != http.StatusOK || !strings.Contains(body, `kubecell_router_cell_up{cell="@rcp"} 1`) {
		t.Errorf("/metrics while the RCP is up: %d %s", code, body)
	}

	gate.Refuse()
	until(t, "the metrics say that the RCP is down", func(context.Context) bool {
		code, body := plain(t, admin+"/metrics")
		return code == http.StatusOK && strings.Contains(body, `kubecell_router_cell_up{cell="@rcp"} 0`) &&
			strings.Contains(body, `kubecell_router_cell_up{cell="cell-1"} 1`)
	})
	if code, body := get(t, config, "/metrics", ""); code != http.StatusServiceUnavailable {
		t.Errorf("/metrics of the main port: %d %s; want 503", code, body)
	}
	for path, want := range map[string]string{
		"/healthz": "ok", "/livez": "ok", "/readyz?verbose": "[+]configuration ok", "/readyz/configuration": "ok",
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile: total", "/debug/pprof/cmdline": "router.test",
	} {
		if code, body := plain(t, admin+path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s; want 200 %s", path, code, body, want)
		}
	}
	if code, _ := plain(t, admin+"/api/v1/namespaces"); code != http.StatusNotFound {
		t.Errorf("an API at the admin port: %d; want 404", code)
	}

	stop()
	if answer, err := http.Get(admin + "/healthz"); err == nil {
		_ = answer.Body.Close()
		t.Error("the admin port is open although the router has ended")
	}
}

// plain asks without credentials.
func plain(t *testing.T, url string) (code int, body string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}
