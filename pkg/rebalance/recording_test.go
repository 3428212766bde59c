package rebalance_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// heardAtMost is how long a run may take to pause, with some for a busy machine. It is half of what the Events of the test take.
const heardAtMost = 20 * time.Second

// TestEventsThatCannotBeWrittenDelayNobody has many units fail at once while the RCP stores no Events, and pauses the run.
func TestEventsThatCannotBeWrittenDelayNobody(t *testing.T) {
	const failing = 20
	b, before := growing(t, 60)
	started := b.accepted(v1alpha1.RebalanceSpec{Window: failing, MaxFailures: new(int32(2 * failing))})
	var leave []func()
	for _, unit := range started.Units[:failing] {
		leave = append(leave, b.squat(unit))
	}
	d := b.driver("it")
	var hung atomic.Int32
	d.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/events") {
				return next.RoundTrip(r)
			}
			hung.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	})
	name := started.Run.Name
	b.start(d, name)
	b.await("units to fail", func() bool { return len(d.events.of(rebalance.EventFailed)) > 0 })
	since := time.Now()
	b.must(rebalance.Pause(t.Context(), b.client, name))
	b.awaitPaused(name)
	if took := time.Since(since); took > heardAtMost || hung.Load() == 0 {
		t.Errorf("the run has paused after %s, while %d Events could not be written", took, hung.Load())
	}
	for _, end := range leave {
		end()
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}
