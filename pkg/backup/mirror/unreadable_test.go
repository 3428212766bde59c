package mirror_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// TestWhatLosesItsEnvelopeWhileItsCellIsAwayIsNamed, whatever was done to that by hand: nobody can make it again. Once the cell
// answers it is made, and not named any more.
func TestWhatLosesItsEnvelopeWhileItsCellIsAwayIsNamed(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	b.start(ring)
	spoils := map[string]func(s *corev1.Secret){
		"deleted": nil,
		"data":    func(s *corev1.Secret) { s.Data[envelope.DataKey] = []byte("nonsense") },
		"header":  func(s *corev1.Secret) { s.Annotations[v1alpha1.AnnotationEnvelope] = "{}" },
		"source":  func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelSourceCell) },
		"another": func(s *corev1.Secret) { s.Labels[v1alpha1.LabelSourceCell] = west },
		"label":   func(s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelBackupCell) },
	}
	kept := b.owned(ring, "kept", of(east))
	names := map[string]string{}
	var want []string
	for what := range spoils {
		names[what] = b.owned(ring, what, of(east))
		want = append(want, names[what])
	}
	slices.Sort(want)
	for _, name := range append(slices.Clone(want), kept) {
		b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+name+`}}`))
	}
	b.settled(east, west)
	b.await("all to be counted", func() bool { return b.mark().Envelopes == int64(len(want)+1) })
	b.gates[east].cut()
	for what, spoil := range spoils {
		secret := b.sealed(west, configMaps, names[what])
		var err error
		if spoil == nil {
			err = b.envelopes(west).Delete(t.Context(), secret.Name, metav1.DeleteOptions{})
		} else {
			spoil(secret)
			_, err = b.envelopes(west).Update(t.Context(), secret, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	b.await("all to be named", func() bool { return slices.Equal(b.unprotected(), want) })
	for _, u := range b.mark().Unprotected {
		if u.Reason != mirror.Unreadable || u.Envelope || u.Backup != west || u.Message == "" {
			t.Errorf("unprotected: %+v; want it unreadable, without an envelope in %s", u, west)
		}
	}
	before := b.mark().Unprotected
	b.awaitReports(3, func() {
		if !slices.Equal(b.mark().Unprotected, before) {
			t.Errorf("what is named changes by itself: %+v, then %+v", before, b.mark().Unprotected)
		}
	})
	b.gates[east].closed.Store(false)
	b.await("nothing to be named", func() bool { return len(b.unprotected()) == 0 })
	for what, name := range names {
		opened, err := envelope.Open(b.sealed(west, configMaps, name))
		if err != nil || opened.SourceCell != east {
			t.Errorf("the envelope of %s: %+v, %v", what, opened, err)
		}
	}
	b.await("all to be counted again", func() bool { return b.mark().Envelopes == int64(len(want)+1) && len(b.mark().Pending) == 0 })
}

// TestACellThatHangsHoldsUpNobodyElse, though all workers of the cell that its envelopes are in want to read it.
func TestACellThatHangsHoldsUpNobodyElse(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west, north}, nil)
	b.start(ring)
	const lost = 60 // to wait for each as long as a request may take would take longer than the test
	var names []string
	for i := range lost {
		names = append(names, b.owned(ring, fmt.Sprint("lost", i), eastIn(west)))
		b.make(east, configMaps, `{metadata: {name: `+names[i]+`}}`)
	}
	b.settled(east, west, north)
	b.await("all to have their envelopes", func() bool { return b.mark().Envelopes == lost && len(b.mark().Pending) == 0 })
	b.gates[east].hangs.Store(true)
	b.gates[east].endWatches()
	for _, name := range names {
		if err := b.envelopes(west).Delete(t.Context(), nameOf(configMaps, b.namespace, name), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	obj := b.make(north, configMaps, `{metadata: {name: `+b.owned(ring, "other", func(old, backup, _, _ string) bool { return old == north && backup == west })+`}}`)
	b.awaitSealed(west, north, configMaps, obj)
	b.await("all to be named", func() bool { return len(b.unprotected()) == lost })
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s; one request may take 10 s, and the cell is not to be asked again and again", took)
	}
	b.gates[east].hangs.Store(false)
	b.await("nothing to be named", func() bool { return len(b.unprotected()) == 0 && b.mark().Envelopes == lost })
}

// TestWhatHasAnotherEnvelopeIsNotNamed: while a rebalance runs an object may have two, and one is enough.
func TestWhatHasAnotherEnvelopeIsNotNamed(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, []string{east, west, north})
	both := func(prefix string) string {
		return b.owned(ring, prefix, func(old, backup, now, newBackup string) bool {
			return old == east && now == east && backup == west && newBackup == north
		})
	}
	one, none := both("one"), both("none")
	b.start(ring)
	for _, name := range []string{one, none} {
		obj := b.make(east, configMaps, `{metadata: {name: `+name+`}}`)
		b.awaitSealed(west, east, configMaps, obj)
		b.awaitSealed(north, east, configMaps, obj)
	}
	b.settled(east, west, north)
	b.gates[east].cut()
	deletes := func(cell, name string) {
		if err := b.envelopes(cell).Delete(t.Context(), nameOf(configMaps, b.namespace, name), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	deletes(west, one)
	b.await("the envelope to be missed", func() bool { r, _ := b.report(east); return r.Pending > 0 })
	deletes(west, none)
	deletes(north, none)
	b.await("the one without any to be named", func() bool { return slices.Equal(b.unprotected(), []string{none}) })
	b.awaitReports(3, func() {
		if got := b.unprotected(); !slices.Equal(got, []string{none}) {
			t.Errorf("named: %v; want %s alone", got, none)
		}
	})
}
