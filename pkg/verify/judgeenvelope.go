package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// judgeEnvelopes compares the envelopes of an object with what they have to be.
func (w *world) judgeEnvelopes(s *sighting, j *judgement) {
	if s.envelopes == nil || !w.backup.on {
		return
	}
	r := s.records[j.counts]
	if r == nil {
		w.judgeLeftEnvelopes(s, j, nil)
		return
	}
	if r.orphan != nil {
		return // that is to be seen to first
	}
	homes := w.snap.Homes(j.counts, r.unit)
	if w.catchingUp(j.counts) {
		j.waits = slices.ContainsFunc(homes, func(home string) bool { return w.wrong(s, j, r, home) != nil })
		return
	}
	var wrong []Finding
	for _, home := range homes {
		if f := w.wrong(s, j, r, home); f != nil && w.readable[home] {
			wrong = append(wrong, *f)
		}
	}
	// While units move, the envelopes for one of the two rings do.
	if w.ring.Status.Phase == v1alpha1.RingStable || len(wrong) == len(homes) {
		for _, f := range wrong {
			j.find(s, f)
		}
	}
	if w.ring.Status.Phase == v1alpha1.RingStable && len(wrong) == 0 {
		w.judgeLeftEnvelopes(s, j, homes)
	}
}

// wrong is what is wrong with the envelope of an object in one of its homes, nil for nothing.
func (w *world) wrong(s *sighting, j *judgement, r *record, home string) *Finding {
	f := &Finding{Class: Unprotected, Cell: home, remedy: seal, Fix: "writes the envelope", object: r.object(), token: string(r.meta.UID)}
	if u, refused := w.backup.refused[refusal{s.ref, string(r.meta.UID)}]; refused && u.Backup == home {
		f.remedy, f.Fix = byHand, "kubectl cell backup status   # it is tried again by itself once the reason is removed"
		f.Message = fmt.Sprintf("cannot be protected: %s: %s", u.Reason, u.Message)
		return f
	}
	e := s.envelopes[home]
	switch {
	case e == nil:
		f.Message = fmt.Sprintf("no envelope in cell %s: lost if cell %s died", home, j.counts)
	case e.problem != "" && e.header.Promoted == "":
		f.envelope, f.Message = e, e.problem
	case !w.disposable(e):
		f.remedy, f.Fix = byHand, "kubectl cell failback "+e.header.SourceCell+"   # saves it to a file and makes room"
		f.Message = fmt.Sprintf("an envelope of cell %s, which was failed over, is in the way", e.header.SourceCell)
		if w.snap.Promoting[e.header.SourceCell] {
			return nil // it is about to be promoted
		}
	default:
		object, holds := versionOf(r.meta.ResourceVersion), versionOf(e.header.ResourceVersion)
		if e.header.SourceCell == j.counts && e.header.Unit == r.unit && (holds > object || holds == object && e.header.UID == r.meta.UID) {
			return nil
		}
		f.Class, f.envelope = Stale, e
		f.Message = fmt.Sprintf("its envelope in cell %s has version %d of cell %s, and the object is at %d", home, holds, e.header.SourceCell, object)
		if e.header.SourceCell == j.counts && e.header.UID == r.meta.UID && e.header.Unit == r.unit {
			f.behind, f.holds = object, holds
		}
	}
	return f
}

// judgeLeftEnvelopes looks for envelopes that nobody needs.
func (w *world) judgeLeftEnvelopes(s *sighting, j *judgement, homes []string) {
	for _, r := range s.records {
		if j.counts == "" && (statusOf(r.meta) == v1alpha1.Incoming || live(r.meta)) {
			return // it is on its way, or misplaced: what there is may be needed
		}
	}
	for _, cell := range slices.Sorted(maps.Keys(s.envelopes)) {
		e := s.envelopes[cell]
		if slices.Contains(homes, cell) {
			continue
		}
		f := Finding{Class: Orphaned, Cell: cell, envelope: e, token: e.uid, remedy: unseal, Fix: "deletes the envelope"}
		switch source := e.header.SourceCell; {
		case e.problem != "":
			f.remedy, f.Fix, f.Message = byHand, showEnvelope(cell, s.ref.envelope()), e.problem
		case w.snap.Promoting[source]:
			continue
		case w.snap.Unavailable[source] && (j.counts != "" || e.header.Promoted != ""):
			continue // the failback of that cell saves it
		case w.snap.Unavailable[source]:
			f.Class, f.remedy, f.Fix = Stuck, byHand, showEnvelope(cell, s.ref.envelope())
			f.Message = fmt.Sprintf("the copy of an object of cell %s, which was failed over, was never brought back", source)
		case !w.disposable(e) || w.member(source) && !w.readable[source]:
			continue
		case j.counts == "":
			f.Message = "an envelope of an object that is in no cell"
		default:
			f.Message = fmt.Sprintf("an envelope of an object that has its envelopes in %v", homes)
		}
		j.find(s, f)
	}
}

// disposable says whether an envelope is the backup's to change: its source lives, and it was not promoted.
func (w *world) disposable(e *sealed) bool {
	source := e.header.SourceCell
	return e.header.Promoted == "" && !w.snap.Unavailable[source] && !w.snap.Promoting[source]
}

func (w *world) member(cell string) bool { return slices.Contains(w.snap.Table.Cells(), cell) }

// versionOf is 0 for what is none.
func versionOf(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
