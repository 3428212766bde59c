package promotion_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

// starting is a promoter for whom the heir says that it is not ready, as long as that is set.
func (b *bed) starting() (*promotion.Promoter, *atomic.Bool) {
	b.t.Helper()
	p, starts := b.promoter(nil), &atomic.Bool{}
	config := fence.AsMover(b.configs[heir])
	config.Wrap(func(following http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := following.RoundTrip(r)
			if err == nil && r.URL.Path == "/readyz" && starts.Load() {
				answer.StatusCode = http.StatusInternalServerError
			}
			return answer, err
		})
	})
	cell, err := promotion.Connect(heir, config)
	if err != nil {
		b.t.Fatal(err)
	}
	p.Cells[heir] = cell
	starts.Store(true)
	return p, starts
}

// TestARefusalOfACellThatStartsIsNotBelieved: its RBAC, definitions and admission come one after the other, and what it refuses
// in earnest is never asked for again. Here it refuses, and says for a while that it is not ready.
func TestARefusalOfACellThatStartsIsNotBelieved(t *testing.T) {
	b := newBed(t)
	b.quota()
	before := b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
	sealed := b.seal(heir, configMaps, before)
	p, starts := b.starting()
	result := p.Promote(t.Context(), heir, sealed)
	if !result.Retryable() || !strings.Contains(result.Message, "cell heir is starting") || !strings.Contains(result.Message, "exceeded quota") {
		t.Errorf("while it starts: %+v", result)
	}
	starts.Store(false)
	if result := p.Promote(t.Context(), heir, sealed); result.Outcome != promotion.Refused || !result.Doubtful() || result.Lacks() {
		t.Errorf("once it has started: %+v", result)
	}
	b.noQuota()
	if result := p.Promote(t.Context(), heir, sealed); result.Outcome != promotion.Promoted {
		t.Errorf("with room: %+v", result)
	}
	b.promoted(heir, configMaps, before, sealed, nil)
}

// TestNothingTakesThePlaceOfATwinWhoseCellStarts: the newer envelope is there, where its cell refuses the object for the
// time being.
func TestNothingTakesThePlaceOfATwinWhoseCellStarts(t *testing.T) {
	for _, from := range []string{heir, next} {
		t.Run(from, func(t *testing.T) {
			b := newBed(t)
			b.ring(heir, next)
			b.quota()
			older := b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
			newer, err := b.in(dead, configMaps).Patch(t.Context(), "x", types.MergePatchType, []byte(`{"data":{"a":"c"}}`), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sealed := b.seal(heir, configMaps, newer)
			b.seal(next, configMaps, older)
			p, starts := b.starting()
			if result := p.Promote(t.Context(), from, sealed); !result.Retryable() || !b.sealed(heir, sealed) || !b.sealed(next, sealed) {
				t.Errorf("while it starts: %+v; envelopes left: %t, %t", result, b.sealed(heir, sealed), b.sealed(next, sealed))
			}
			b.noQuota()
			starts.Store(false)
			if result := p.Promote(t.Context(), from, sealed); !result.Done() {
				t.Errorf("once it has started: %+v", result)
			}
			b.promoted(heir, configMaps, newer, sealed, nil)
		})
	}
}

// noQuota takes back what quota has made, and waits until the heir has room.
func (b *bed) noQuota() {
	b.t.Helper()
	quotas := kind{secrets.GroupVersionResource.GroupVersion().WithResource("resourcequotas"), "ResourceQuota", true}
	if err := b.in(heir, quotas).Delete(b.t.Context(), "q", metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
	probe := b.get(dead, configMaps, "x").DeepCopy()
	probe.SetName("probe")
	probe.SetUID("")
	probe.SetResourceVersion("")
	b.until("there is room", func() bool {
		_, err := b.in(heir, configMaps).Create(b.t.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil
	})
}
