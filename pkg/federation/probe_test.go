package federation_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// The clock of a server is read off its answers.
func TestClockOfAServer(t *testing.T) {
	for _, off := range []time.Duration{0, time.Hour, -48 * time.Hour} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"gitVersion": "v1.36.3"}`))
		}))
		health, err := federation.Probe(t.Context(), &rest.Config{Host: server.URL})
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := health.Off(); got > off.Abs() || got < off.Abs()-10*time.Second {
			t.Errorf("a clock that is %s ahead is said to be %s off", off, got)
		}
	}
}
