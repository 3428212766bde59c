package mirror_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestACellWithoutAFenceIsBackedUp as any other is, and has the envelopes of others: they are written there, proven, and
// deleted, also while their objects are in migration.
func TestACellWithoutAFenceIsBackedUp(t *testing.T) {
	b := newBed(t)
	b.configs[west] = sandboxtest.Unfenced(t, b.configs[west])
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	owners := map[string]string{east: west, west: east}
	made := map[string]*unstructured.Unstructured{}
	for owner, home := range owners {
		made[owner] = b.make(owner, configMaps, `{metadata: {name: `+b.owned(ring, "x", of(owner))+`}, data: {a: b}}`)
		b.awaitSealed(home, owner, configMaps, made[owner])
		changed := b.edit(owner, configMaps, made[owner].GetName(), func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{"a": "c"} })
		b.awaitSealed(home, owner, configMaps, changed)
	}
	b.settled(east, west)
	// A rehearsal makes the object in the cell that has its envelope, in a dry run.
	refused := b.owned(ring, "refused", of(east))
	b.admitsNone(secrets, nil)
	sealed := b.make(east, secrets, `{metadata: {name: `+refused+`}}`)
	b.awaitSealed(west, east, secrets, sealed)
	b.await("what the cell refuses to be named, and nothing else", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		got := slices.Concat(b.marks[east].Unprotected, b.marks[west].Unprotected)
		return len(got) == 1 && got[0].Name == refused && got[0].Reason == mirror.Refused
	})
	for owner, home := range owners {
		name := made[owner].GetName()
		marked := b.edit(owner, configMaps, name, func(o *unstructured.Unstructured) {
			o.SetLabels(map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrating)})
		})
		b.awaitSealed(home, owner, configMaps, marked)
		b.delete(owner, configMaps, name)
		b.awaitGone(home, configMaps, name)
	}
	b.delete(east, secrets, refused)
	b.awaitGone(west, secrets, refused)
	b.settled(east, west)
}
