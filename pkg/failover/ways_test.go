package failover_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// TestAReportAsksACellOnceWhatItServes, whoever needs to know.
func TestAReportAsksACellOnceWhatItServes(t *testing.T) {
	b := newBed(t)
	var asked atomic.Int64
	config := rest.CopyConfig(b.configs["cell-1"])
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{next, &asked} })
	access := map[string]federation.Access{"cell-1": {Config: config}}
	to := failover.Ways(access)
	first, err := to("cell-1")
	b.must(err)
	once := asked.Load()
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			if again, err := to("cell-1"); err != nil || again != first {
				t.Errorf("asked again: %v", err)
			}
		})
	}
	others.Wait()
	if now := asked.Load(); once == 0 || now != once {
		t.Errorf("%d requests for one, %d for five", once, now)
	}
	if _, err := to("cell-9"); err == nil {
		t.Error("a cell that is not there")
	}
	if again, err := failover.Ways(access)("cell-1"); err != nil || again == first {
		t.Errorf("the next report does not ask again: %v", err)
	}
}

// counted is a way to a server that counts.
type counted struct {
	http.RoundTripper
	requests *atomic.Int64
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	return c.RoundTripper.RoundTrip(r)
}
