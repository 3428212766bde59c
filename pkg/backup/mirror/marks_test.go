package mirror_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

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
