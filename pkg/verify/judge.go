package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// overdue is how long a tombstone may outlast its grace: a daemon buries them now and then.
const overdue = 10 * time.Minute

// record is what one cell has of an object.
type record struct {
	resource migration.Resource // as the cell serves it
	meta     *metav1.PartialObjectMetadata
	// unit is the key of the unit that it belongs to there.
	unit string
	// orphan is the owner of a dependent that is gone, nil for none.
	orphan *metav1.OwnerReference
}

func (r *record) object() *migration.Object {
	o := migration.ObjectOf(r.resource, r.meta)
	return &o
}

func (r *record) mark(annotation string) string { return r.meta.Annotations[annotation] }

// sighting is all that is seen of an object.
type sighting struct {
	ref
	class placement.Class
	// key of a sharded object.
	key string
	// records and envelopes by cell. envelopes is nil where they were not read.
	records   map[string]*record
	envelopes map[string]*sealed
}

// judgement is what follows from a sighting.
type judgement struct {
	findings []Finding
	// counts is the cell whose object routers show, empty for none; known says whether that can be told.
	counts string
	known  bool
	// waits says that envelopes are missing that a daemon is about to write.
	waits bool
}

// judge asks nobody. What depends on a cell that was not read is not judged.
func (w *world) judge(s *sighting) judgement {
	j := judgement{}
	j.counts, j.known = w.counting(s)
	w.judgeMarks(s, &j)
	if j.known {
		w.judgePlaces(s, &j)
		w.judgeEnvelopes(s, &j)
	}
	return j
}

func (j *judgement) find(s *sighting, f Finding) {
	f.ref, f.Object, f.counts = s.ref, s.ref.String(), j.counts
	if r := s.records[f.Cell]; f.object == nil && f.envelope == nil && r != nil {
		f.object = r.object()
	}
	if f.token == "" && f.object != nil {
		f.token = string(f.object.UID)
	}
	if r := s.records[j.counts]; r != nil {
		f.unit = r.unit
	} else if r := s.records[f.Cell]; r != nil {
		f.unit = r.unit
	}
	f.Safe = f.remedy != byHand
	j.findings = append(j.findings, f)
}

// counting is the cell whose object counts. While a key moves, the object in the cell that it moves from counts unless it
// has left; of several copies of a dependent the one in the cell of its unit does.
func (w *world) counting(s *sighting) (cell string, known bool) {
	if s.class == placement.Sharded {
		place, placed := w.snap.Table.LookupKey(s.key)
		if !placed || !w.readable[place.Old()] || !w.readable[place.New()] {
			return "", false
		}
	}
	best := 0
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[name]
		place, placed := w.snap.Table.LookupKey(r.unit)
		if !placed {
			return "", false
		}
		rank := 0
		switch {
		case name == place.Old():
			rank = 3
		case name == place.New():
			rank = 2
		case s.class == placement.Dependent:
			rank = 1
		}
		if live(r.meta) && rank > best {
			cell, best = name, rank
		}
	}
	if s.class == placement.Dependent && best < 2 {
		for _, name := range w.snap.Table.Cells() {
			if !w.readable[name] {
				return "", false
			}
		}
	}
	return cell, true
}

// judgeMarks looks at what moves.
func (w *world) judgeMarks(s *sighting, j *judgement) {
	for cell, r := range s.records {
		switch statusOf(r.meta) {
		case v1alpha1.Migrating:
			if run := r.mark(v1alpha1.AnnotationRebalance); !w.carriesOut(run) && !deleting(r.meta) {
				j.find(s, Finding{
					Class: Stuck, Cell: cell, remedy: finish, Fix: "takes the move back, or finishes it",
					Message: fmt.Sprintf("closed to writes since %s by %s, which nobody carries out", r.mark(v1alpha1.AnnotationMigrationTime), cmp.Or(run, "somebody")),
				})
			}
		case v1alpha1.Incoming:
			w.judgeIncoming(s, j, cell, r)
		case v1alpha1.Migrated:
			w.judgeTombstone(s, j, cell, r)
		}
	}
}

// carriesOut says whether a run is at work.
func (w *world) carriesOut(run string) bool {
	return w.ring.Status.Phase != v1alpha1.RingStable && run != "" && run == w.ring.Status.Rebalance
}

func (w *world) judgeIncoming(s *sighting, j *judgement, cell string, r *record) {
	from := r.mark(v1alpha1.AnnotationFromCell)
	place, placed := w.snap.Table.LookupKey(r.unit)
	if placed && place.Moves() || !w.readable[from] {
		return // its run has it in hand, or a promotion
	}
	if original := s.records[from]; original != nil && original.mark(v1alpha1.AnnotationMovesTo) == cell {
		switch statusOf(original.meta) {
		case v1alpha1.Migrating:
			return // the original is stuck, and this goes with it
		case v1alpha1.Migrated:
			j.find(s, Finding{
				Class: Stuck, Cell: cell, remedy: finish, Fix: "takes the move back, or finishes it",
				Message: fmt.Sprintf("has left cell %s, and was not opened to writes here", from),
			})
			return
		}
	}
	if deleting(r.meta) && len(migration.FinalizersToKeep(r.meta.Finalizers, true)) == len(r.meta.Finalizers) {
		return // the cell's garbage collector has the rest to do
	}
	f := Finding{
		Class: Stale, Cell: cell, remedy: removeMark, Fix: "removes the copy",
		Message: fmt.Sprintf("an incoming copy from cell %s that nobody moves", from),
	}
	if j.counts == "" {
		f.remedy, f.Fix = byHand, showRaw(cell, r.object())
		f.Message += "; it may be all there is of the object"
	}
	j.find(s, f)
}

func (w *world) judgeTombstone(s *sighting, j *judgement, cell string, r *record) {
	to := r.mark(v1alpha1.AnnotationMovesTo)
	if there := s.records[to]; there != nil && statusOf(there.meta) == v1alpha1.Incoming || deleting(r.meta) || !w.atRest() {
		return
	}
	since, err := time.Parse(time.RFC3339, r.mark(v1alpha1.AnnotationMigrationTime))
	switch grace := w.grace(r.mark(v1alpha1.AnnotationRebalance)); {
	case err != nil:
		j.find(s, Finding{
			Class: Stale, Cell: cell, Message: fmt.Sprintf("a tombstone of a move to cell %s, without a date", to),
			remedy: byHand, Fix: deleteRaw(cell, r.object()),
		})
	case w.now.After(since.Add(grace + overdue)):
		j.find(s, Finding{
			Class: Stale, Cell: cell, Message: fmt.Sprintf("a tombstone of a move to cell %s, whose grace has ended at %s", to, since.Add(grace).Format(time.RFC3339)),
			remedy: removeMark, Fix: "removes the tombstone",
		})
	}
}

// judgePlaces looks for objects that no router shows.
func (w *world) judgePlaces(s *sighting, j *judgement) {
	var hidden []string
	for cell, r := range s.records {
		if live(r.meta) && cell != j.counts && !deleting(r.meta) {
			hidden = append(hidden, cell)
		}
	}
	slices.Sort(hidden)
	for _, cell := range hidden {
		r := s.records[cell]
		switch {
		case s.class == placement.Dependent && len(r.meta.OwnerReferences) > 0 && r.orphan == nil:
			// It goes with its owner, which is a finding itself.
		case j.counts != "":
			j.find(s, Finding{
				Class: Duplicate, Cell: cell, Message: fmt.Sprintf("the one in cell %s is shown, and this one is not", j.counts),
				remedy: removeCopy, Fix: "removes it, with its dependents left alone", // unless they differ
			})
		case s.class == placement.Sharded:
			w.judgeMisplaced(s, j, cell, hidden)
		}
	}
	for cell, r := range s.records {
		if r.orphan != nil && live(r.meta) && !deleting(r.meta) {
			j.find(s, Finding{
				Class: Orphaned, Cell: cell, Message: fmt.Sprintf("its owner, %s %s, is gone", r.orphan.Kind, r.orphan.Name),
				remedy: byHand, Fix: deleteRaw(cell, r.object()),
			})
		}
	}
}

func (w *world) judgeMisplaced(s *sighting, j *judgement, cell string, hidden []string) {
	r := s.records[cell]
	place, _ := w.snap.Table.LookupKey(r.unit)
	f := Finding{
		Class: Misplaced, Cell: cell, Message: fmt.Sprintf("belongs into cell %s, and no router shows it here", place.Old()),
		remedy: moveHome, Fix: "moves it to cell " + place.Old(),
	}
	switch {
	case len(hidden) > 1:
		f.Message += "; cells " + fmt.Sprint(hidden) + " have one each"
		f.remedy, f.Fix = byHand, showRaw(cell, r.object())
	case len(r.meta.OwnerReferences) > 0:
		owner := r.meta.OwnerReferences[0]
		f.Message += fmt.Sprintf("; %s %s owns it, and would make it again", owner.Kind, owner.Name)
		f.remedy, f.Fix = byHand, "kubectl edit ring default   # spec.resources: give "+s.resource.String()+" the class Local or Dependent"
	case statusOf(r.meta) != "":
		return // it is stuck; where it is comes after
	}
	j.find(s, f)
}
