package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// patience is how long something has to fail before a cell is said not to be replicated. Of what is copied
// together the first attempts may fail, such as that of an object whose namespace comes a moment later.
const patience = 5 * time.Second

// mending is how long after the failure that was told of has ended another one is told of: each thing is tried
// again at its own time, so that what ends together ends one by one.
const mending = patience + slowestRetry

// longestMessage of a verdict, in bytes: what a webhook has to say may be longer than a condition can be.
const longestMessage = 1000

// Verdict says how the copies of a cell stand.
type Verdict struct {
	// Replicated is true where a comparison of everything has found each copy as its source, or has made it so,
	// and nothing fails.
	Replicated bool
	// Reason is one word, Message a sentence that names an object for which it is so.
	Reason, Message string
}

// Reasons of a [Verdict].
const (
	reasonCompared    = "Compared"
	reasonRepairsFail = "RepairsFail"
	reasonNoAccess    = "NoAccess"
)

// standing is what is known of the copies of one cell. It is safe for concurrent use.
type standing struct {
	now func() time.Time

	mu sync.Mutex // guards what follows
	// asked counts for each followed resource the comparisons that were asked for; compared is what it
	// was when the last one that succeeded began.
	asked, compared map[schema.GroupVersionResource]int
	// differing are copies that a comparison has found to differ, until they have been repaired.
	differing map[Object]bool
	// troubles are what fails now. An entry without a name stands for all of its resource.
	troubles map[matter]trouble
	// shown is the trouble that the last verdict was about, mended when that one ended.
	shown  matter
	mended time.Time
}

// matter is something that can fail.
type matter struct {
	task   task
	object Object
}

type task string

const (
	watching  task = "watch"
	comparing task = "compare"
	repairing task = "repair"
)

// trouble is a matter that has failed since a time, at first with err.
type trouble struct {
	since time.Time
	err   error
}

func newStanding(now func() time.Time) *standing {
	return &standing{
		now:   now,
		asked: map[schema.GroupVersionResource]int{}, compared: map[schema.GroupVersionResource]int{},
		differing: map[Object]bool{}, troubles: map[matter]trouble{},
	}
}

// expect has nothing said of the cell before this resource has been compared.
func (s *standing) expect(resource schema.GroupVersionResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[resource]++
}

// drop forgets a resource.
func (s *standing) drop(resource schema.GroupVersionResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, resource)
	delete(s.compared, resource)
	maps.DeleteFunc(s.differing, func(o Object, _ bool) bool { return o.Resource == resource })
	maps.DeleteFunc(s.troubles, func(m matter, _ trouble) bool { return m.object.Resource == resource })
}

// began returns what a comparison that begins now has to hand to ended.
func (s *standing) began(resource schema.GroupVersionResource) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[resource]
}

// ended notes a comparison. Where another was asked for meanwhile, that one counts.
func (s *standing) ended(resource schema.GroupVersionResource, began int, err error) {
	s.note(matter{comparing, Object{Resource: resource}}, err, func() {
		s.compared[resource] = began
	})
}

// differs notes a copy that has to be repaired.
func (s *standing) differs(o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[o.Resource] > 0 {
		s.differing[o] = true
	}
}

// repaired notes an attempt to repair a copy.
func (s *standing) repaired(o Object, err error) {
	s.note(matter{repairing, o}, err, func() { delete(s.differing, o) })
}

// watched notes an attempt to list or watch the copies of a resource.
func (s *standing) watched(resource schema.GroupVersionResource, err error) {
	if apierrors.IsNotFound(err) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		// Its definition has not come yet, which the comparison sees; or a list follows.
		err = nil
	}
	s.note(matter{watching, Object{Resource: resource}}, err, func() {})
}

// note keeps the first failure of a row, and forgets it with the first success, at which it calls done.
func (s *standing) note(m matter, err error, done func()) {
	if ofSource(err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[m.object.Resource] == 0 {
		return // it is not followed any more
	}
	if err == nil {
		delete(s.troubles, m)
		if m == s.shown {
			s.shown, s.mended = matter{}, s.now()
		}
		done()
		return
	}
	if _, ok := s.troubles[m]; !ok {
		s.troubles[m] = trouble{since: s.now(), err: err}
	}
}

// verdict is known once everything has been compared and repaired, or something has failed for a while. It
// does not change while the oldest failure lasts.
func (s *standing) verdict() (v Verdict, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, oldest := s.oldest(); !oldest.since.IsZero() {
		now := s.now()
		if now.Sub(oldest.since) < patience || now.Sub(s.mended) < mending {
			return Verdict{}, false
		}
		s.shown = m
		return m.verdict(oldest.err), true
	}
	if len(s.asked) == 0 || len(s.differing) > 0 || !maps.Equal(s.asked, s.compared) {
		return Verdict{}, false
	}
	return Verdict{Replicated: true, Reason: reasonCompared, Message: "every copy is as its source"}, true
}

// oldest returns what has failed for the longest time, or nothing. The lock is held.
func (s *standing) oldest() (matter, trouble) {
	var first matter
	var out trouble
	for m, t := range s.troubles {
		earlier := t.since.Before(out.since) || t.since.Equal(out.since) && m.String() < first.String()
		if out.since.IsZero() || earlier {
			first, out = m, t
		}
	}
	return first, out
}

func (m matter) String() string {
	if m.object.Name == "" {
		return fmt.Sprintf("%s %s", m.task, m.object.Resource.Resource)
	}
	return fmt.Sprintf("%s %s", m.task, m.object)
}

func (m matter) verdict(err error) Verdict {
	v := Verdict{Reason: reasonRepairsFail, Message: fmt.Sprintf("%.*s", longestMessage, fmt.Sprintf("%s: %v", m, err))}
	if silent := new(url.Error); errors.As(err, &silent) {
		v.Reason = reasonUnreachable
	}
	return v
}

// sourceError is a failure to read a source, of which the cell is innocent.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// ofSource says whether nothing can be said of a cell because the RCP did not answer. What the RCP
// refuses counts: the copy is not made.
func ofSource(err error) bool {
	source := new(sourceError)
	return errors.As(err, &source) && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown ||
		errors.Is(err, context.Canceled)
}
