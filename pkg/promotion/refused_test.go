package promotion_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

// TestWhatCannotBePromotedIsKeptAndNamed: the envelope stays, and so does whatever is in the way.
func TestWhatCannotBePromotedIsKeptAndNamed(t *testing.T) {
	plain := func(b *bed) *unstructured.Unstructured {
		return b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
	}
	sealing := func(edit func(*corev1.Secret)) func(*bed) string {
		return func(b *bed) string { return b.seal(heir, configMaps, plain(b), edit) }
	}
	tests := map[string]struct {
		seal func(b *bed) string
		want promotion.Outcome
		says string
	}{
		"an object in the way": {func(b *bed) string {
			b.make(heir, configMaps, `{metadata: {name: x}, data: {mine: "1"}}`)
			return b.seal(heir, configMaps, plain(b))
		}, promotion.Conflict, "no copy"},
		"another payload": {sealing(func(s *corev1.Secret) { s.Data["object"][20] ^= 1 }), promotion.Corrupt, "x"},
		"no payload":      {sealing(func(s *corev1.Secret) { s.Data = nil }), promotion.Corrupt, ""},
		"no header":       {sealing(func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationEnvelope) }), promotion.Corrupt, ""},
		"a header that says otherwise": {sealing(func(s *corev1.Secret) {
			s.Annotations[v1alpha1.AnnotationEnvelope] = strings.Replace(s.Annotations[v1alpha1.AnnotationEnvelope], `"ConfigMap"`, `"Secret"`, 1)
		}), promotion.Corrupt, "kind"},
		"from a cell that lives":    {sealing(func(s *corev1.Secret) { s.Labels[v1alpha1.LabelSourceCell] = next }), promotion.Elsewhere, next},
		"for another cell":          {sealing(func(s *corev1.Secret) { s.Labels[v1alpha1.LabelBackupCell] = next }), promotion.Elsewhere, next},
		"a kind that is not served": {func(b *bed) string { return b.sealUnserved() }, promotion.NoKind, "gadgets"},
		"a quota": {func(b *bed) string {
			b.quota()
			return b.seal(heir, configMaps, plain(b))
		}, promotion.Outcome(migration.Refused), "quota"},
		"owners in a circle": {func(b *bed) string { return b.sealCircle() }, promotion.Cycle, "own each other"},
		"an owner that is not there": {func(b *bed) string {
			owner := plain(b)
			child := b.make(dead, secrets, `metadata: {name: child`+ownedBy(configMaps, owner)+`}`)
			return b.seal(heir, secrets, child)
		}, promotion.OwnerMissing, "ConfigMap x"},
		"an owner that cannot be promoted": {func(b *bed) string {
			owner := plain(b)
			child := b.make(dead, secrets, `metadata: {name: child`+ownedBy(configMaps, owner)+`}`)
			b.seal(heir, configMaps, owner, func(s *corev1.Secret) { s.Data = nil })
			return b.seal(heir, secrets, child)
		}, promotion.OwnerMissing, "Corrupt"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			sealed := test.seal(b)
			before := b.get(heir, configMaps, "x")
			result := b.promote(heir, sealed, test.want)
			if !strings.Contains(result.String(), test.says) || result.Retryable() || result.Done() != (test.want == promotion.Elsewhere) {
				t.Errorf("%+v; want it to name %q", result, test.says)
			}
			if !b.sealed(heir, sealed) {
				t.Error("the envelope is gone")
			}
			after := b.get(heir, configMaps, "x")
			if (before == nil) != (after == nil) || before != nil && before.GetResourceVersion() != after.GetResourceVersion() {
				t.Errorf("before %v\nafter %v", before, after)
			}
			if err := b.envelopes(heir).Delete(t.Context(), sealed, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// sealUnserved seals an object of a kind that no cell knows.
func (b *bed) sealUnserved() string {
	k := kind{widgets.GroupVersion().WithResource("gadgets"), "Gadget", false}
	obj := b.make(dead, configMaps, `{metadata: {name: ring}}`)
	obj.SetAPIVersion(k.apiVersion())
	obj.SetKind(k.kind)
	return b.seal(heir, k, obj)
}

// sealCircle seals two objects that own each other.
func (b *bed) sealCircle() string {
	one := b.make(dead, configMaps, `{metadata: {name: ring}}`)
	two := b.make(dead, secrets, `metadata: {name: ring`+ownedBy(configMaps, one)+`}`)
	one.SetOwnerReferences([]metav1.OwnerReference{ownerRef(secrets, two)})
	b.seal(heir, secrets, two)
	return b.seal(heir, configMaps, one)
}

// quota leaves no room for another config map in the heir.
func (b *bed) quota() {
	b.t.Helper()
	quotas := kind{corev1.SchemeGroupVersion.WithResource("resourcequotas"), "ResourceQuota", true}
	b.make(heir, quotas, `{metadata: {name: q}, spec: {hard: {count/configmaps: "0"}}}`)
	b.until("the quota counts", func() bool {
		raw, err := json.Marshal(b.get(heir, quotas, "q").Object["status"])
		return err == nil && strings.Contains(string(raw), "count/configmaps")
	})
}

// TestADependentThatWasMadeAgainIsLeft: its controller has derived it from the owner that was promoted before.
func TestADependentThatWasMadeAgainIsLeft(t *testing.T) {
	b := newBed(t)
	b.dependent(secrets)
	owner := b.make(dead, configMaps, `{metadata: {name: x}}`)
	child := b.make(dead, secrets, `metadata: {name: x`+ownedBy(configMaps, owner)+`}`)
	b.promote(heir, b.seal(heir, configMaps, owner), promotion.Promoted)
	again := b.make(heir, secrets, `metadata: {name: x`+ownedBy(configMaps, b.get(heir, configMaps, "x"))+`}`)
	sealed := b.seal(heir, secrets, child)
	b.promote(heir, sealed, promotion.Dropped)
	if got := b.get(heir, secrets, "x"); got == nil || got.GetUID() != again.GetUID() || b.sealed(heir, sealed) {
		t.Errorf("%v; want %v", got, again)
	}
}
