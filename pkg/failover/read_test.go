package failover_test

import (
	"net/http"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestAMarkComesWhileFactsAreRead: it passes an object that has no copy by naming it, and the router forgets that. Whoever has
// read the mark before has asked the router before that.
func TestAMarkComesWhileFactsAreRead(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(1)
	cm, err := b.maps().get(ours[0])
	b.must(err)
	tooLarge := mirror.Unprotected{
		Resource: "configmaps", Namespace: b.namespace, Name: ours[0], UID: string(cm.UID), Backup: "cell-2", Reason: mirror.TooLarge, Since: time.Now(),
	}
	var once sync.Once
	config := rest.CopyConfig(b.rcp)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			marks, err := next.RoundTrip(r)
			if path.Base(r.URL.Path) == "configmaps" {
				once.Do(func() {
					b.publish("cell-1", b.ring().Status.Epoch, tooLarge)
					b.forgotten("cell-1")
				})
			}
			return marks, err
		})
	})
	for _, when := range []string{"while it comes", "once it has come"} {
		facts, err := failover.Read(t.Context(), config, "cell-1")
		b.must(err)
		found, err := failover.Report(facts)
		b.must(err)
		if want := []string{failover.Key("", "configmaps", b.namespace, ours[0])}; !slices.Equal(found.Lost, want) {
			t.Errorf("%s: lost %v, want %v", when, found.Lost, want)
		}
	}
}
