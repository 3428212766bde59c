package events

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

var planes = sandboxtest.NewPool(1)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// screen is what was printed so far.
type screen struct{ sandboxtest.Buffer }

// await waits until words are on the screen.
func (s *screen) await(t *testing.T, words ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for _, word := range words {
		for !strings.Contains(s.String(), word) {
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("there is no %s:\n%s", word, s)
			}
		}
	}
}

// TestFollowMissesNothingAndRepeatsNothing breaks the connection, without and with a compaction in the meantime, and has
// each event printed once, those included that are older by their cell's clock than what was printed before.
func TestFollowMissesNothingAndRepeatsNothing(t *testing.T) {
	config := planes.Configs(t)[0]
	events := kubernetes.NewForConfigOrDie(config).CoreV1().Events(metav1.NamespaceDefault)
	create := func(name string, ago time.Duration) {
		t.Helper()
		at := metav1.NewTime(time.Now().Add(-ago))
		_, err := events.Create(t.Context(), &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: name}, InvolvedObject: corev1.ObjectReference{Kind: "Deployment", Name: "checkout", Namespace: metav1.NamespaceDefault},
			Type: corev1.EventTypeNormal, Reason: name, FirstTimestamp: at, LastTimestamp: at,
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	gate := sandboxtest.NewGate(t, config.Host)
	through := rest.CopyConfig(config)
	through.Host = gate.URL()
	var out, warnings screen
	o := &options{env: &command.Env{IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &warnings}, Clock: clock.RealClock{}}, namespace: metav1.NamespaceDefault}
	ctx, stop := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()

	create("there-before", 0)
	following.Go(func() {
		cell := &source{cell: "cell-1", client: kubernetes.NewForConfigOrDie(through).CoreV1().Events(o.namespace)}
		if err := o.follow(ctx, []*source{cell}, nil); ctx.Err() == nil {
			t.Errorf("follow ended: %v", err)
		}
	})
	out.await(t, "there-before")
	create("while-connected", 0)
	out.await(t, "while-connected")

	gate.Refuse()
	create("while-broken", time.Hour)
	gate.Pass()
	out.await(t, "while-broken")

	gate.Refuse()
	create("while-broken-again", time.Hour)
	create("at-once", time.Hour)
	planes.Compact(t)
	gate.Pass()
	out.await(t, "while-broken-again", "at-once")
	create("last", 0)
	out.await(t, "last")
	for line := range strings.Lines(out.String()) {
		if n := strings.Count(out.String(), line); n != 1 {
			t.Errorf("%d times: %s", n, line)
		}
	}
}
