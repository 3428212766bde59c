package mirror_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const deployment = `{metadata: {name: %s}, spec: {selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i}]}}}}`

// TestEnvelopesFollowTheirObjects makes, changes and deletes objects of several kinds.
func TestEnvelopesFollowTheirObjects(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	early := b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "early", of(east))+`}, data: {a: b}}`)
	b.start(ring)
	b.awaitSealed(west, east, configMaps, early)

	late := b.make(west, configMaps, `{metadata: {name: `+b.owned(ring, "late", of(west))+`}, data: {a: b}}`)
	b.awaitSealed(east, west, configMaps, late)
	name := b.owned(ring, "web", of(east))
	web := b.make(east, deployments, fmt.Sprintf(deployment, name))
	b.awaitSealed(west, east, deployments, web)
	web.Object["status"] = map[string]any{"observedGeneration": int64(1)}
	web, err := b.in(east, deployments).UpdateStatus(t.Context(), web, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.awaitSealed(west, east, deployments, web)
	large := make([]byte, 900<<10)
	if _, err := rand.Read(large); err != nil {
		t.Fatal(err)
	}
	blob := b.make(east, secrets, `{metadata: {name: `+b.owned(ring, "blob", of(east))+`}, data: {x: `+base64.StdEncoding.EncodeToString(large)+`}}`)
	b.awaitSealed(west, east, secrets, blob)

	// The same name in a cell that does not own it does not show, and is nobody's backup.
	stray := b.owned(ring, "stray", of(west))
	b.make(east, configMaps, `{metadata: {name: `+stray+`}}`)

	b.delete(east, deployments, name)
	b.awaitGone(west, deployments, name)
	b.delete(west, configMaps, late.GetName())
	b.awaitGone(east, configMaps, late.GetName())
	// What was made again is another object.
	again := b.make(west, configMaps, `{metadata: {name: `+late.GetName()+`}, data: {c: d}}`)
	b.awaitSealed(east, west, configMaps, again)
	b.settled(east, west)
	if b.sealed(west, configMaps, stray) != nil || b.sealed(east, configMaps, stray) != nil {
		t.Error("there is an envelope of an object that does not count")
	}
	b.await("the report", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		r := b.reports[west]
		return r.Complete && r.Pending == 0 && len(r.Pairs) == 1 && r.Pairs[0].Backup == east && r.Pairs[0].Samples > 0
	})
}

// TestDependentsGoWithTheirOwners has a dependent whose name belongs to another cell.
func TestDependentsGoWithTheirOwners(t *testing.T) {
	b := newBed(t, v1alpha1.ResourceRule{Resource: "services", Class: "Dependent"})
	ring := b.setRing([]string{east, west, north}, nil)
	b.start(ring)
	owner := b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "owner", of(east))+`}}`)
	place, _ := ring.Table.LookupKey(b.namespace + "/" + owner.GetName())
	name := b.owned(ring, "dependent", func(old, backup, _, _ string) bool { return old != east && old != place.OldBackup() })
	dependent := b.make(east, services, fmt.Sprintf(
		`{metadata: {name: %s, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: %s, controller: true}]}, spec: {clusterIP: None}}`,
		name, owner.GetName(), owner.GetUID()))
	secret := b.awaitSealed(place.OldBackup(), east, services, dependent)
	if unit := secret.Annotations[v1alpha1.AnnotationUnit]; unit != b.namespace+"/"+owner.GetName() {
		t.Errorf("the dependent belongs to unit %q; want its owner's", unit)
	}
}

// TestRestart writes nothing that is right, and finds what happened meanwhile.
func TestRestart(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	names := map[string]string{}
	for _, role := range []string{"same", "changed", "deleted"} {
		names[role] = b.owned(ring, role, of(east))
		b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+names[role]+`}}`))
	}
	b.settled(east, west)
	stop()
	before := b.sealed(west, configMaps, names["same"]).ResourceVersion
	changed := b.edit(east, configMaps, names["changed"], func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{"a": "b"} })
	b.delete(east, configMaps, names["deleted"])
	made := b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "made", of(east))+`}}`)

	ring = b.setRing([]string{east, west}, nil)
	b.start(ring)
	b.awaitSealed(west, east, configMaps, changed)
	b.awaitSealed(west, east, configMaps, made)
	b.awaitGone(west, configMaps, names["deleted"])
	b.settled(east, west)
	if after := b.sealed(west, configMaps, names["same"]).ResourceVersion; after != before {
		t.Errorf("an envelope that was right was written: version %s, then %s", before, after)
	}
}

// TestRehoming adds a cell that takes over as backup: the new envelope is there before the old one goes.
func TestRehoming(t *testing.T) {
	b := newBed(t)
	before := b.setRing([]string{east, west}, nil)
	after := b.setRing([]string{east, west, north}, nil)
	name := b.owned(after, "rehomed", func(old, backup, _, _ string) bool { return old == east && backup == north })
	b.start(before)
	obj := b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
	b.awaitSealed(west, east, configMaps, obj)

	// While both rings count, both of their cells have it.
	both := b.setRing([]string{east, west}, []string{east, west, north})
	b.tell(both)
	b.awaitSealed(north, east, configMaps, obj)
	b.settled(east, west, north)
	b.awaitSealed(west, east, configMaps, obj)

	b.tell(b.setRing([]string{east, west, north}, nil))
	b.await("the old envelope to go", func() bool {
		old, now := b.sealed(west, configMaps, name), b.sealed(north, configMaps, name)
		if now == nil {
			t.Fatal("the new envelope is not there")
		}
		return old == nil
	})
	b.settled(east, west, north)
}

// TestAMoveTakesTheEnvelopeAlong follows an object through the labels of a migration.
func TestAMoveTakesTheEnvelopeAlong(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, []string{west, north})
	name := b.owned(ring, "mover", func(old, _, now, backup string) bool { return old == east && now == north && backup == west })
	b.start(ring)
	obj := b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
	b.awaitSealed(west, east, configMaps, obj)
	label := func(cell string, status v1alpha1.RebalanceStatus) *unstructured.Unstructured {
		return b.edit(cell, configMaps, name, func(o *unstructured.Unstructured) {
			labels := map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
			if status == "" {
				labels = nil
			}
			o.SetLabels(labels)
			if cell == east {
				o.SetAnnotations(map[string]string{v1alpha1.AnnotationUnit: b.namespace + "/" + name, v1alpha1.AnnotationMovesTo: north})
			}
		})
	}
	b.awaitSealed(west, east, configMaps, label(east, v1alpha1.Migrating))
	b.make(north, configMaps, `{metadata: {name: `+name+`, labels: {`+v1alpha1.LabelRebalanceStatus+`: incoming}}}`)
	label(east, v1alpha1.Migrated)
	b.settled(east, west, north)
	if b.sealed(west, configMaps, name) == nil {
		t.Fatal("the envelope went before the object had arrived")
	}
	arrived := label(north, "")
	b.awaitSealed(west, north, configMaps, arrived)
	// The tombstone is buried, and the object deleted: now nothing is left of it.
	b.delete(east, configMaps, name)
	b.settled(east, west, north)
	b.awaitSealed(west, north, configMaps, arrived)
	b.delete(north, configMaps, name)
	b.awaitGone(west, configMaps, name)
}

// TestADeadCellKeepsItsEnvelopes deletes objects in cells that count as failed over, or cannot be read.
func TestADeadCellKeepsItsEnvelopes(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	name := b.owned(ring, "kept", of(east))
	b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+name+`}}`))

	// The RCP knows that the cell was failed over, and this mirror does not yet.
	failed := func(s *v1alpha1.RingStatus) { s.Unavailable, s.Promoting = []string{east}, []string{east} }
	told := b.ring
	gone := b.setRing([]string{west, north}, nil, failed)
	b.mu.Lock()
	b.reported, b.ring = b.ring, told
	b.mu.Unlock()
	b.delete(east, configMaps, name)
	witness := b.make(west, configMaps, `{metadata: {name: `+b.owned(ring, "witness", of(west))+`}}`)
	b.awaitSealed(east, west, configMaps, witness)
	b.await("the deletion to be pending", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.reports[east].Pending > 0
	})
	// It learns it, by the way of a restart, and of new rings.
	b.mu.Lock()
	b.ring, b.reported = b.reported, nil
	b.mu.Unlock()
	stop()
	b.start(gone)
	b.settled(west, north)
	b.tell(b.setRing([]string{west, north}, nil, failed))
	b.settled(west, north)
	if b.sealed(west, configMaps, name) == nil {
		t.Error("the envelope of a cell that was failed over was deleted")
	}
}

// TestNothingIsDeletedByARingOfBefore: the envelope that is in the way by it is at home by the newest.
func TestNothingIsDeletedByARingOfBefore(t *testing.T) {
	b := newBed(t)
	known := b.setRing([]string{east, west}, nil)
	before := b.setRing([]string{east, west, north}, nil)
	newest := b.setRing([]string{east, west}, nil)
	name := b.owned(before, "rehomed", eastIn(north))
	b.start(known)
	obj := b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
	b.awaitSealed(west, east, configMaps, obj)
	b.tell(before)
	b.awaitSealed(north, east, configMaps, obj)
	b.awaitReports(3, func() {
		if b.sealed(west, configMaps, name) == nil {
			t.Fatal("the envelope was deleted that is at home by the ring as it is")
		}
	})
	b.tell(newest)
	b.awaitGone(north, configMaps, name)
	b.awaitSealed(west, east, configMaps, obj)
}

// TestACellThatCannotBeReadKeepsItsEnvelopes deletes an object while nobody can see it.
func TestACellThatCannotBeReadKeepsItsEnvelopes(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	name := b.owned(ring, "kept", of(east))
	b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+name+`}}`))
	stop()
	b.delete(east, configMaps, name)
	b.gates[east].closed.Store(true)
	b.start(ring)
	b.await("the other cell to be known", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.reports[west].Complete && b.reports[west].Envelopes > 0
	})
	if b.sealed(west, configMaps, name) == nil {
		t.Fatal("an envelope was deleted because its cell cannot be read")
	}
	b.gates[east].closed.Store(false)
	b.awaitGone(west, configMaps, name)
}

// awaitReports looks after each of n more reports of the cell east. Marks are published twice as often.
func (b *bed) awaitReports(n int, look func()) {
	b.t.Helper()
	var seen time.Time
	for range n {
		b.await("a report", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			r := b.reports[east]
			newer := r.Complete && r.Time.After(seen)
			seen = r.Time
			return newer
		})
		look()
	}
}
