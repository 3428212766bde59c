package mirror_test

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

// mark is the newest of the cell east.
func (b *bed) mark() mirror.Mark {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.marks[east]
}

// holdEnvelopes has no envelope made in a cell until the returned function is called.
func (b *bed) holdEnvelopes(cell string) (free func()) { return hold(&b.gates[cell].post) }

// TestAMarkSaysSinceWhenAChangeWaits, however much later it is published because of another resource, and so for a resource that
// nobody is told of. At rest it says nothing, and is not published again.
func TestAMarkSaysSinceWhenAChangeWaits(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west, north}, nil)
	b.start(ring)
	b.settled(east, west, north)
	configs, others := schema.GroupResource{Resource: "configmaps"}, schema.GroupResource{Resource: "secrets"}
	free := b.holdEnvelopes(west)
	began := time.Now()
	waits := b.make(east, configMaps, `{metadata: {name: `+b.owned(ring, "waits", eastIn(west))+`}}`)
	b.await("the mark to say that a change waits", func() bool { return !b.mark().Pending[configs].IsZero() })
	since := b.mark().Pending[configs]
	if since.Before(began) || since.After(time.Now()) {
		t.Errorf("it waits since %s; it was made after %s", since, began)
	}
	later := b.make(east, secrets, `{metadata: {name: `+b.owned(ring, "later", eastIn(north))+`}}`)
	b.awaitSealed(north, east, secrets, later)
	b.await("the mark of the other resource to pass", func() bool {
		m := b.mark()
		return m.Resources[others] >= versionOf(t, later) && m.Pending[others].IsZero()
	})
	if got := b.mark().Pending[configs]; !got.Equal(since) {
		t.Errorf("by a later mark it waits since %s; want %s, as before", got, since)
	}
	free()
	b.awaitSealed(west, east, configMaps, waits)
	b.await("nothing to wait", func() bool { return len(b.mark().Pending) == 0 })

	b.gates[east].cut()
	died := time.Now()
	b.await("the mark to say that nobody is told what happens", func() bool { return !b.mark().Pending[configs].IsZero() && !b.mark().Pending[others].IsZero() })
	if since := b.mark().Pending[configs]; since.After(died.Add(time.Second)) {
		t.Errorf("nobody is told since %s; the cell went at %s", since, died)
	}
	b.gates[east].closed.Store(false)
	b.await("nothing to wait once the cell answers", func() bool { return len(b.mark().Pending) == 0 })

	// At rest nothing but bookmarks is told, once a minute.
	published, last := 0, b.mark()
	b.mu.Lock()
	b.published = func(m mirror.Mark) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if m.Cell == east && sameVersions(m, last) {
			published++
		}
		if m.Cell == east {
			last = m
		}
	}
	b.mu.Unlock()
	b.awaitReports(10, func() {})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.published = nil; published > 0 {
		t.Errorf("at rest the mark was published %d times, though nothing has happened", published)
	}
}

// sameVersions says whether two marks have come as far.
func sameVersions(a, b mirror.Mark) bool {
	for of, at := range a.Resources {
		if b.Resources[of] != at {
			return false
		}
	}
	return len(a.Resources) == len(b.Resources)
}

// TestWhatHasLeftWaitsUntilItCounts: from the tombstone on, and until its new cell shows it, an object has no envelope as from
// there, and its mover may have died.
func TestWhatHasLeftWaitsUntilItCounts(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{west, north}, []string{east, north})
	name := b.owned(ring, "mover", func(old, _, now, backup string) bool { return old == west && now == east && backup == north })
	b.start(ring)
	b.awaitSealed(north, west, configMaps, b.make(west, configMaps, `{metadata: {name: `+name+`}}`))
	b.settled(east, west, north)
	b.make(east, configMaps, `{metadata: {name: `+name+`, labels: {`+v1alpha1.LabelRebalanceStatus+`: incoming}}}`)
	b.label(west, name, v1alpha1.Migrating)
	configs := schema.GroupResource{Resource: "configmaps"}
	b.awaitReports(2, func() {})
	b.await("the copy to be known", func() bool { return len(b.mark().Pending) == 0 && b.mark().Resources[configs] > 0 })
	b.label(west, name, v1alpha1.Migrated)
	b.await("the mark to say that it waits", func() bool { return !b.mark().Pending[configs].IsZero() })
	b.awaitSealed(north, east, configMaps, b.label(east, name, ""))
	b.await("nothing to wait", func() bool { return len(b.mark().Pending) == 0 })
}

// label gives a config map that moves from the cell west to the cell east a status, "" for none.
func (b *bed) label(cell, name string, status v1alpha1.RebalanceStatus) *unstructured.Unstructured {
	b.t.Helper()
	return b.edit(cell, configMaps, name, func(o *unstructured.Unstructured) {
		o.SetLabels(nil)
		if status != "" {
			o.SetLabels(map[string]string{v1alpha1.LabelRebalanceStatus: string(status)})
		}
		if cell == west {
			o.SetAnnotations(map[string]string{v1alpha1.AnnotationUnit: b.namespace + "/" + name, v1alpha1.AnnotationMovesTo: east})
		}
	})
}

func versionOf(t *testing.T, obj *unstructured.Unstructured) int64 {
	t.Helper()
	version, err := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return version
}
