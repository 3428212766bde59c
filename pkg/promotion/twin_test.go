package promotion_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

// damaged changes the payload of an envelope, or puts it right again.
func damaged(s *corev1.Secret) { s.Data[envelope.DataKey][20] ^= 1 }

// TestAnUnfitTwin gives way to the other envelope of the key, in whichever cell the promotion begins.
func TestAnUnfitTwin(t *testing.T) {
	for name, test := range map[string]struct {
		unfit, fit string
		spoil      func(*corev1.Secret)
	}{
		"damaged where it moves from": {heir, next, damaged},
		"refused where it moves from": {heir, next, nil},
		"damaged where it moves to":   {next, heir, damaged},
	} {
		for _, from := range []string{heir, next} {
			t.Run(name+" "+from, func(t *testing.T) {
				b := newBed(t)
				b.ring(heir, next)
				before := b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
				b.seal(test.fit, configMaps, before)
				var sealed string
				if test.spoil != nil {
					sealed = b.seal(test.unfit, configMaps, before, test.spoil)
				} else {
					b.quota()
					sealed = b.seal(test.unfit, configMaps, before)
				}
				if result := b.promoter(nil).Promote(t.Context(), from, sealed); !result.Done() {
					t.Errorf("%+v", result)
				}
				b.promoted(test.fit, configMaps, before, sealed, nil)
				if b.sealed(test.unfit, sealed) || b.get(test.unfit, configMaps, "x") != nil {
					t.Errorf("%s still has something of it", test.unfit)
				}
			})
		}
	}
}

// TestOfTwoTwinsTheNewerCounts wherever it is, and wherever the promotion begins: the cells get their envelopes one after the
// other.
func TestOfTwoTwinsTheNewerCounts(t *testing.T) {
	for _, in := range []string{heir, next} {
		for _, from := range []string{heir, next} {
			t.Run(in+" "+from, func(t *testing.T) {
				b := newBed(t)
				b.ring(heir, next)
				older := b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
				patch := []byte(`{"data":{"a":"c"}}`)
				newer, err := b.in(dead, configMaps).Patch(t.Context(), "x", types.MergePatchType, patch, metav1.PatchOptions{})
				if err != nil {
					t.Fatal(err)
				}
				states := map[string]*unstructured.Unstructured{heir: older, next: older}
				states[in] = newer
				sealed := b.seal(heir, configMaps, states[heir])
				b.seal(next, configMaps, states[next])
				if result := b.promoter(nil).Promote(t.Context(), from, sealed); !result.Done() {
					t.Errorf("%+v", result)
				}
				b.promoted(in, configMaps, newer, sealed, nil)
				for _, cell := range []string{heir, next} {
					if there := b.get(cell, configMaps, "x") != nil; b.sealed(cell, sealed) || there != (cell == in) {
						t.Errorf("%s has the object: %t, or an envelope of it", cell, there)
					}
				}
			})
		}
	}
}

// TestAnOlderTwinWaits: what the cell of the newer envelope lacks may be copied to it yet. Before that is known to be in vain the
// older one is not promoted in its place.
func TestAnOlderTwinWaits(t *testing.T) {
	for _, from := range []string{heir, next} {
		for name, learns := range map[string]bool{"until the cell learns": true, "in vain": false} {
			t.Run(from+" "+name, func(t *testing.T) {
				b := newBed(t)
				b.ring(heir, next)
				b.namespace += "-late"
				for _, cell := range []string{dead, next} {
					b.makeNamespace(b.configs[cell], b.namespace)
				}
				older := b.make(dead, configMaps, `{metadata: {name: x}, data: {a: b}}`)
				newer, err := b.in(dead, configMaps).Patch(t.Context(), "x", types.MergePatchType, []byte(`{"data":{"a":"c"}}`), metav1.PatchOptions{})
				if err != nil {
					t.Fatal(err)
				}
				sealed := b.seal(heir, configMaps, newer)
				b.seal(next, configMaps, older)
				p := b.promoter(nil)
				result := p.Promote(t.Context(), from, sealed)
				if !result.Doubtful() || !result.Lacks() || !result.Yields() || !b.sealed(heir, sealed) || !b.sealed(next, sealed) {
					t.Errorf("while the namespace is missing: %+v; envelopes left: %t, %t", result, b.sealed(heir, sealed), b.sealed(next, sealed))
				}
				if made := b.get(next, configMaps, "x"); made != nil {
					t.Errorf("the older one has become %v", made)
				}
				in, want := next, older
				if p.Final = !learns; learns {
					b.makeNamespace(b.configs[heir], b.namespace)
					in, want = heir, newer
				}
				if result := p.Promote(t.Context(), from, sealed); !result.Done() {
					t.Errorf("then: %+v", result)
				}
				b.promoted(in, configMaps, want, sealed, nil)
				if b.sealed(heir, sealed) || b.sealed(next, sealed) {
					t.Error("an envelope is left")
				}
			})
		}
	}
}

// TestWhatIsOwnedGoesWhereItsOwnerCan: the owner's envelope is damaged where their keys move from.
func TestWhatIsOwnedGoesWhereItsOwnerCan(t *testing.T) {
	b := newBed(t)
	b.ring(heir, next)
	owner := b.make(dead, configMaps, `{metadata: {name: x}}`)
	child := b.make(dead, secrets, `metadata: {name: child`+ownedBy(configMaps, owner)+`}`)
	sealedOwner := b.seal(heir, configMaps, owner, damaged)
	b.seal(next, configMaps, owner)
	sealed := b.seal(heir, secrets, child)
	b.seal(next, secrets, child)
	b.promote(heir, sealed, promotion.Promoted)
	made := b.promoted(next, configMaps, owner, sealedOwner, nil)
	b.promoted(next, secrets, child, sealed, map[string]string{string(owner.GetUID()): string(made.GetUID())})
	if b.sealed(heir, sealed) || b.sealed(heir, sealedOwner) || b.get(heir, secrets, "child") != nil {
		t.Error("the cell that they move from still has something of them")
	}
}

// shows says whether a cell has the object, and not a copy of it.
func (b *bed) shows(cell, name string) bool {
	o := b.get(cell, configMaps, name)
	return o != nil && o.GetLabels()[v1alpha1.LabelRebalanceStatus] == ""
}

// TestATwinIsNotPromotedAfterADeletion: the promotion is killed at each step, and what shows by then is deleted by a user. The
// object is made once, and deleted it stays so, whichever of its envelopes is promoted then.
func TestATwinIsNotPromotedAfterADeletion(t *testing.T) {
	for name, test := range map[string]struct {
		in, other string // where it is made, and the other cell
		edits     []func(*corev1.Secret)
	}{
		"of the first":         {heir, next, nil},
		"of one that gave way": {next, heir, []func(*corev1.Secret){damaged}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.ring(heir, next)
			p := b.promoter(nil)
			for n := 1; ; n++ {
				name := fmt.Sprintf("x%d", n)
				before := b.make(dead, configMaps, `{metadata: {name: `+name+`}}`)
				b.seal(next, configMaps, before)
				sealed := b.seal(heir, configMaps, before, test.edits...)
				step, killed := killAfter(p, n, func() { p.Promote(context.Background(), heir, sealed) })
				p.Step = nil
				deleted := b.shows(test.in, name)
				if deleted {
					b.userDeletesIn(test.in, configMaps, name)
				}
				for _, cell := range []string{test.other, test.in, test.other} {
					if result := p.Promote(t.Context(), cell, sealed); !result.Done() {
						t.Errorf("killed after step %d, %s, %s: %+v", n, step, cell, result)
					}
				}
				if b.shows(test.in, name) == deleted || b.shows(test.other, name) || b.sealed(heir, sealed) || b.sealed(next, sealed) {
					t.Errorf("killed after step %d, %s, deleted then: %t; in %s: %t, in %s: %t",
						n, step, deleted, test.in, b.shows(test.in, name), test.other, b.shows(test.other, name))
				}
				if !killed || t.Failed() {
					break
				}
			}
		})
	}
}

// TestATwinThatIsFitAgain: a promoter has judged it, and is held up before each of its requests in turn. Meanwhile what was
// wrong with the twin is put right, and another promoter comes and commits it. There is one object in the end.
func TestATwinThatIsFitAgain(t *testing.T) {
	b := newBed(t)
	b.ring(heir, next)
	kube, err := kubernetes.NewForConfig(b.configs[heir])
	if err != nil {
		t.Fatal(err)
	}
	envelopes := kube.CoreV1().Secrets(v1alpha1.Namespace)
	b.meet(next, heir, func(name string) string {
		before := b.make(dead, configMaps, `{metadata: {name: `+name+`}}`)
		b.seal(next, configMaps, before)
		return b.seal(heir, configMaps, before, damaged)
	}, func(sealed string) {
		secret, err := envelopes.Get(t.Context(), sealed, metav1.GetOptions{})
		if err == nil {
			damaged(secret)
			_, err = envelopes.Update(t.Context(), secret, metav1.UpdateOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	})
}

// TestTwinsBesideATombstone: what had come through the dead cell has a tombstone where its key moves from. Two promoters at once
// begin in one cell each, and make one object.
func TestTwinsBesideATombstone(t *testing.T) {
	for _, late := range []string{heir, next} {
		t.Run(late, func(t *testing.T) {
			b := newBed(t)
			b.ring(heir, next)
			other := map[string]string{heir: next, next: heir}[late]
			b.meet(late, other, func(name string) string {
				before := b.make(dead, configMaps, `{metadata: {name: `+name+`}}`)
				b.make(heir, configMaps, `{metadata: {name: `+name+`, labels: {`+v1alpha1.LabelRebalanceStatus+`: migrated}}}`)
				b.seal(next, configMaps, before)
				return b.seal(heir, configMaps, before)
			}, func(string) {})
		})
	}
}

// meet has a promoter that begins in the cell late held up before each of its requests in turn, each time with another object,
// whose envelopes prepare makes. Meanwhile something is done, and another promoter begins in the cell first; it goes on after
// its commit when the late one has ended. There has to be one object then, and no envelope.
func (b *bed) meet(late, first string, prepare func(name string) (sealed string), meanwhile func(sealed string)) {
	b.t.Helper()
	for n := 1; ; n++ {
		name := fmt.Sprintf("x%d", n)
		sealed := prepare(name)
		committed, goOn := make(chan struct{}), make(chan struct{})
		commit := sync.OnceFunc(func() { close(committed) })
		other := b.promoter(nil)
		other.Step = func(s promotion.Step) {
			if s.Name == promotion.Committed {
				commit()
				<-goOn
			}
		}
		var others sync.WaitGroup
		seen := 0
		held := b.promoter(func(*http.Request) {
			if seen++; seen != n {
				return
			}
			meanwhile(sealed)
			others.Go(func() {
				defer commit()
				if result := other.Promote(b.t.Context(), first, sealed); !result.Done() {
					b.t.Errorf("held up before request %d, the other one: %+v", n, result)
				}
			})
			<-committed
		})
		if result := held.Promote(b.t.Context(), late, sealed); !result.Done() {
			b.t.Errorf("held up before request %d: %+v", n, result)
		}
		close(goOn)
		others.Wait()
		inHeir, inNext := b.shows(heir, name), b.shows(next, name)
		if inHeir == inNext || b.sealed(heir, sealed) || b.sealed(next, sealed) {
			b.t.Errorf("held up before request %d of %d: in the heir: %t, in the next cell: %t", n, seen, inHeir, inNext)
		}
		if seen < n || b.t.Failed() {
			break
		}
	}
}
