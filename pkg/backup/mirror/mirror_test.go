package mirror_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestMarksPassOnlyWhatIsStored writes from several clients, and looks at every mark whether it holds.
func TestMarksPassOnlyWhatIsStored(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	names := make([]string, 8)
	var mu sync.Mutex // guards acknowledged
	acknowledged := map[string]int64{}
	for i := range names {
		names[i] = b.owned(ring, fmt.Sprintf("n%d", i), of(east))
	}
	var checked atomic.Int64
	b.published = func(m mirror.Mark) {
		if m.Cell != east {
			return
		}
		mark := m.Resources[schema.GroupResource{Resource: "configmaps"}]
		mu.Lock()
		known := make(map[string]int64, len(acknowledged))
		for name, version := range acknowledged {
			known[name] = version
		}
		mu.Unlock()
		for name, version := range known {
			if version > mark {
				continue
			}
			checked.Add(1)
			h, err := envelope.HeaderOf(b.sealed(west, configMaps, name))
			if stored, _ := strconv.ParseInt(h.ResourceVersion, 10, 64); err != nil || stored < version {
				t.Errorf("the mark is %d; the envelope of %s has version %d (%v), and the object had %d", mark, name, stored, err, version)
			}
		}
	}
	b.start(ring)
	var writers sync.WaitGroup
	for _, name := range names {
		writers.Go(func() {
			obj, err := b.in(east, configMaps).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name},
			}}, metav1.CreateOptions{})
			for n := 0; n < 60 && err == nil; n++ {
				version, _ := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
				mu.Lock()
				acknowledged[name] = version
				mu.Unlock()
				obj.Object["data"] = map[string]any{"n": strconv.Itoa(n)}
				obj, err = b.in(east, configMaps).Update(t.Context(), obj, metav1.UpdateOptions{})
			}
			if err != nil {
				t.Errorf("write %s: %v", name, err)
			}
		})
	}
	writers.Wait()
	mu.Lock()
	newest := int64(0)
	for _, version := range acknowledged {
		newest = max(newest, version)
	}
	mu.Unlock()
	b.await("the last mark", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.marks[east].Resources[schema.GroupResource{Resource: "configmaps"}] >= newest
	})
	if checked.Load() == 0 {
		t.Error("no mark was checked")
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

// TestNoMarkPassesADeletionWhoseEnvelopeStands: not while nobody knows which envelopes a cell has, nor while one that is
// known of cannot be deleted, however little the mirror saw of the deletion itself.
func TestNoMarkPassesADeletionWhoseEnvelopeStands(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west, north}, nil)
	stop := b.start(ring)
	tests := []struct {
		name string
		miss func(deletion func())
	}{
		{"the way to the backup cell has changed", func(deletion func()) {
			b.renewed[west]++
			b.tell(b.setRing([]string{east, west, north}, nil))
			deletion()
		}},
		{"the daemon was away", func(deletion func()) {
			stop()
			deletion()
			stop = b.start(b.setRing([]string{east, west, north}, nil))
		}},
		{"the way to the object's cell has changed", func(deletion func()) {
			deletion()
			b.renewed[east]++
			b.tell(b.setRing([]string{east, west, north}, nil))
		}},
		{"the watch was broken off", func(deletion func()) {
			b.gates[east].cut()
			deletion()
			b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "last", eastIn(north))+`}}`)
			b.gates[east].closed.Store(false)
		}},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gone := b.owned(ring, fmt.Sprint("gone", i), eastIn(west))
			b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+gone+`}}`))
			b.settled(east, west, north)
			b.gates[west].closed.Store(true)
			defer b.gates[west].closed.Store(false)
			var later *unstructured.Unstructured
			test.miss(func() {
				b.delete(east, configMaps, gone)
				later = b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, fmt.Sprint("later", i), eastIn(north))+`}}`)
			})
			b.awaitSealed(north, east, configMaps, later)
			passed := func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.reached(later)
			}
			b.awaitReports(3, func() {
				if passed() {
					t.Fatal("the mark has passed a deletion whose envelope stands")
				}
			})
			b.gates[west].closed.Store(false)
			b.awaitGone(west, configMaps, gone)
			b.await("the mark to pass", passed)
		})
	}
}

// TestNoMarkPassesADeletionWhoseEnvelopeIsBeingWritten deletes an object when its first envelope is there, and the mirror
// has not been told so.
func TestNoMarkPassesADeletionWhoseEnvelopeIsBeingWritten(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west, north}, nil)
	b.start(ring)
	b.settled(east, west, north)
	tests := map[string]func(r *http.Request, next http.RoundTripper, told <-chan struct{}) (*http.Response, error){
		"the answer is late": func(r *http.Request, next http.RoundTripper, told <-chan struct{}) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			select {
			case <-told:
			case <-r.Context().Done():
			}
			return response, err
		},
		"the answer is lost": func(r *http.Request, next http.RoundTripper, _ <-chan struct{}) (*http.Response, error) {
			b.gates[west].cut() // no watch tells either
			if response, err := next.RoundTrip(r); err == nil {
				_ = response.Body.Close() // nobody sees it
			}
			return nil, errClosed
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			told := make(chan struct{})
			tell := sync.OnceFunc(func() {
				b.gates[west].post.Store(nil)
				b.gates[west].closed.Store(false)
				close(told)
			})
			defer tell()
			post := func(r *http.Request, next http.RoundTripper) (*http.Response, error) { return answer(r, next, told) }
			b.gates[west].post.Store(&post)
			prefix := strings.ReplaceAll(name, " ", "-")
			gone, later := b.owned(ring, prefix, eastIn(west)), b.owned(ring, prefix, eastIn(north))
			b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+gone+`}}`))
			b.delete(east, configMaps, gone)
			witness := b.make(east, configMaps, `{metadata: {name: `+later+`}}`)
			b.awaitSealed(north, east, configMaps, witness)
			passed := func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.reached(witness)
			}
			b.awaitReports(2, func() {
				if passed() && b.sealed(west, configMaps, gone) != nil { // no answer is waited for without end
					t.Fatal("the mark has passed a deletion whose envelope stands")
				}
			})
			tell()
			b.awaitGone(west, configMaps, gone)
			b.await("the mark to pass", passed)
		})
	}
}

// TestWhatIsMadeAnewKeepsItsEnvelope deletes objects whose first envelopes are still to be written, and makes them anew.
func TestWhatIsMadeAnewKeepsItsEnvelope(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	var names []string
	for i := range 20 { // more than are written at once
		names = append(names, b.owned(ring, fmt.Sprint("anew", i), of(east)))
		b.make(east, configMaps, `{metadata: {name: `+names[i]+`}}`)
	}
	free := make(chan struct{})
	post := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		select {
		case <-free:
		case <-r.Context().Done():
		}
		return next.RoundTrip(r)
	}
	b.gates[west].post.Store(&post)
	b.start(ring)
	await := func(what string, pending int64) {
		b.await(what, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.reports[east].Complete && b.reports[east].Pending == pending
		})
	}
	await("everything to be known", int64(len(names)))
	for _, name := range names {
		b.delete(east, configMaps, name)
	}
	b.await("what waits to be forgotten", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.reports[east].Objects == 0 && b.reports[east].Pending < int64(len(names))
	})
	for _, name := range names {
		b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
	}
	await("everything to be known again", int64(len(names)))
	b.gates[west].post.Store(nil)
	close(free)
	await("everything to be stored", 0)
	b.awaitReports(2, func() {
		for _, name := range names {
			if b.sealed(west, configMaps, name) == nil {
				t.Fatalf("the envelope of %s, which was made anew, is gone", name)
			}
		}
	})
}

// TestARingIsNotSettledByADeletionThatWaited counts what the ring has to have, and not what goes meanwhile.
func TestARingIsNotSettledByADeletionThatWaited(t *testing.T) {
	b := newBed(t)
	before := b.setRing([]string{east, west}, nil)
	after := b.setRing([]string{east, west, north}, nil)
	gone, rehomed, fresh := b.owned(after, "gone", eastIn(west)), b.owned(after, "rehomed", eastIn(north)), b.owned(after, "fresh", eastIn(west))
	b.start(before)
	b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+gone+`}}`))
	kept := b.make(east, configMaps, `{metadata: {name: `+rehomed+`}}`)
	b.awaitSealed(west, east, configMaps, kept)
	b.await("nothing to be left to do", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.reached(kept) && b.reports[east].Pending == 0
	})
	b.gates[west].closed.Store(true)
	b.gates[north].closed.Store(true)
	b.delete(east, configMaps, gone)
	b.await("the deletion to wait", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.reports[east].Pending > 0
	})
	b.tell(after)
	b.gates[west].closed.Store(false)
	b.awaitGone(west, configMaps, gone)
	obj := b.make(east, configMaps, `{metadata: {name: `+fresh+`}}`)
	b.await("a mark from after the deletion", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.marks[east].Epoch == after.Epoch {
			t.Fatal("the ring counts as settled while an object has no envelope in its new home")
		}
		return b.reached(obj)
	})
	b.gates[north].closed.Store(false)
	b.awaitSealed(north, east, configMaps, kept)
	b.settled(east, west)
}

// reached says whether the mark of the cell east has come to a ConfigMap as it is. b.mu is held.
func (b *bed) reached(obj *unstructured.Unstructured) bool {
	b.t.Helper()
	version, err := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.marks[east].Resources[schema.GroupResource{Resource: "configmaps"}] >= version
}

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

// TestUnprotected names what is too large, and what the backup cell would refuse, for as long as that is so.
func TestUnprotected(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	noise := make([]byte, 1<<20-10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	large := b.owned(ring, "large", of(east))
	b.make(east, configMaps, `{metadata: {name: `+large+`}, binaryData: {x: `+base64.StdEncoding.EncodeToString(noise)+`}}`)
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
