package mirror_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// TestSpoiledEnvelopesAreMadeAgain deletes and changes envelopes by hand.
func TestSpoiledEnvelopesAreMadeAgain(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	name := b.owned(ring, "spoiled", of(east))
	obj := b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
	b.awaitSealed(west, east, configMaps, obj)
	immutable := true
	tests := []struct {
		what   string
		reason mirror.RemadeReason
		spoil  func(s *corev1.Secret)
	}{
		{"deleted", mirror.RemadeDeleted, nil},
		{"its object", mirror.RemadeCorrupt, func(s *corev1.Secret) { s.Data[envelope.DataKey] = []byte("nonsense") }},
		{"its header", mirror.RemadeCorrupt, func(s *corev1.Secret) { s.Annotations[v1alpha1.AnnotationEnvelope] = "{}" }},
		{"its label", mirror.RemadeDeleted, func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelBackupCell) }},
		{"immutable nonsense", mirror.RemadeCorrupt, func(s *corev1.Secret) { s.Immutable, s.Data[envelope.DataKey] = &immutable, nil }},
	}
	for _, test := range tests {
		b.mu.Lock()
		b.remade = nil
		b.mu.Unlock()
		secret := b.sealed(west, configMaps, name)
		var err error
		if test.spoil == nil {
			err = b.envelopes(west).Delete(t.Context(), secret.Name, metav1.DeleteOptions{})
		} else {
			test.spoil(secret)
			_, err = b.envelopes(west).Update(t.Context(), secret, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatalf("%s: %v", test.what, err)
		}
		b.await("the report of "+test.what, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return slices.ContainsFunc(b.remade, func(r mirror.Remade) bool { return r.Reason == test.reason && r.Cell == west })
		})
		b.await("a sound envelope after "+test.what, func() bool {
			secret := b.sealed(west, configMaps, name)
			if secret == nil {
				return false
			}
			opened, err := envelope.Open(secret)
			return err == nil && opened.Describes(obj.GetUID(), obj.GetResourceVersion())
		})
	}
}

// admitsNone makes a quota in the cell west that leaves no room for any more objects of a kind.
func (b *bed) admitsNone(k kind, annotations map[string]string) {
	b.t.Helper()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none", Annotations: annotations}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourceName("count/" + k.Resource): resource.MustParse("0")},
	}}
	if len(annotations) > 0 {
		quota.Name = "part"
	}
	if _, err := b.kube[west].CoreV1().ResourceQuotas(b.namespace).Create(b.t.Context(), quota, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	try := &unstructured.Unstructured{}
	try.SetAPIVersion(k.GroupVersion().String())
	try.SetKind(k.kind)
	try.SetName("try")
	b.await("the quota to be in force", func() bool {
		_, err := b.in(west, k).Create(b.t.Context(), try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err)
	})
}

// TestRoomIsMadeInAPart: what a cell refuses for want of its part of a quota that the federation divides is no loss.
func TestRoomIsMadeInAPart(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	b.admitsNone(configMaps, map[string]string{v1alpha1.AnnotationQuotaPart: "1"})
	b.admitsNone(secrets, nil)
	b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "first", of(east))+`}}`))
	refused := b.owned(ring, "then", of(east))
	b.awaitSealed(west, east, secrets, b.make(east, secrets, `{metadata: {name: `+refused+`}}`))
	b.await("both to be rehearsed", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.marks[east].Unprotected) > 0
	})
	b.awaitReports(2, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if got := b.marks[east].Unprotected; len(got) != 1 || got[0].Name != refused {
			t.Fatalf("unprotected: %+v; want %s alone", got, refused)
		}
	})
}

// makeTooLarge makes an object that fits into no envelope.
func (b *bed) makeTooLarge(cell, name string) {
	b.t.Helper()
	noise := make([]byte, 1<<20-10)
	if _, err := rand.Read(noise); err != nil {
		b.t.Fatal(err)
	}
	b.make(cell, configMaps, `{metadata: {name: `+name+`}, binaryData: {x: `+base64.StdEncoding.EncodeToString(noise)+`}}`)
}

// TestUnprotected names what is too large, and what the backup cell would refuse, for as long as that is so.
func TestUnprotected(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	large := b.owned(ring, "large", of(east))
	b.makeTooLarge(east, large)
	quotas := b.kube[west].CoreV1().ResourceQuotas(b.namespace)
	b.admitsNone(secrets, nil)
	refused := b.owned(ring, "refused", of(east))
	sealed := b.make(east, secrets, `{metadata: {name: `+refused+`}}`)
	b.awaitSealed(west, east, secrets, sealed)
	named := func(name, reason string) func() bool {
		return func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return slices.ContainsFunc(b.marks[east].Unprotected, func(u mirror.Unprotected) bool { return u.Name == name && u.Reason == reason && u.Message != "" })
		}
	}
	b.await("the large one to be named", named(large, mirror.TooLarge))
	b.await("the refused one to be named", named(refused, mirror.Refused))
	// The mark passes what is named.
	small := b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "small", of(east))+`}}`)
	b.await("the mark to pass", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		version, _ := strconv.ParseInt(small.GetResourceVersion(), 10, 64)
		return b.marks[east].Resources[schema.GroupResource{Resource: "configmaps"}] >= version
	})
	if err := quotas.Delete(t.Context(), "none", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var lost atomic.Bool
	post := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && lost.CompareAndSwap(false, true) {
			_ = response.Body.Close() // its envelope is written, and the mirror is not told so
			return nil, errClosed
		}
		return response, err
	}
	b.gates[west].post.Store(&post)
	shrunk := b.edit(east, configMaps, large, func(o *unstructured.Unstructured) { delete(o.Object, "binaryData") })
	b.awaitSealed(west, east, configMaps, shrunk)
	b.await("nothing to be unprotected", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.marks[east].Unprotected) == 0
	})
}

// TestWhatWasNotRehearsedIsCounted until it is.
func TestWhatWasNotRehearsedIsCounted(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	free := b.holdRehearsals(west)
	b.start(ring)
	for _, prefix := range []string{"one", "two"} {
		b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, prefix, of(east))+`}}`))
	}
	unproven := func(want int64) func() bool {
		return func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.reports[east].Complete && b.reports[east].Pending == 0 && b.reports[east].Unproven == want
		}
	}
	b.await("both to be counted", unproven(2))
	free()
	b.await("none to be counted", unproven(0))
}
