package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// firstAnswer is how long a new watch waits for a source whose part could begin later as well: the other
	// sources' events must not wait for a control plane that hangs.
	firstAnswer = 3 * time.Second
	// maxRefusal bounds what is read of a source's refusal.
	maxRefusal = 1 << 20
	// afterRefusal is how long the others may take once one source has refused: they all would.
	afterRefusal = time.Second
)

// start is where a watch begins.
type start struct {
	// position has a field for each source from which the watch goes on; where there is none the source
	// begins as the client asked.
	position version.Vector
	// inexact is true where the client asked for another position: it named an object's version.
	inexact bool
	// resourceVersion is what sources without a position are asked for: "" or "0".
	resourceVersion string
}

// begin finds where each source starts. The error is stream.ErrExpired where that is not known any more.
func (wr *watchRequest) begin(asked version.Version) (start, error) {
	slots := make([]int, len(wr.sources))
	for i, source := range wr.sources {
		slot, ok := route.Slot(source, wr.state.Snapshot)
		if !ok {
			return start{}, route.Unavailable(source, "the ring has no slot for it")
		}
		slots[i] = slot
	}
	switch {
	case asked.Any:
		return start{resourceVersion: "0"}, nil
	case asked.Unset():
		return start{}, nil
	case wr.initialEvents():
		// What exists is sent in any case: at least as new as asked, which the newest always is.
		return start{}, nil
	case asked.Vector != nil:
		if cell := failedOver(asked.Vector, wr.state.Snapshot); cell != "" {
			return start{}, fmt.Errorf("%w: it is from before cell %s was failed over", stream.ErrExpired, cell)
		}
		if departedFrom(asked.Vector, slots) {
			return start{}, fmt.Errorf("%w: it is from before a cell left", stream.ErrExpired)
		}
		return wholeVector(asked.Vector, slots)
	}
	return wr.beginAtObject(*asked.Object, slots)
}

// failedOver is a cell that has left the ring since a position, without what it had being known to have arrived
// elsewhere: what a client knows from it has to be listed again. "" for none.
func failedOver(v version.Vector, snap *routing.Snapshot) string {
	for cell := range snap.Unavailable {
		if slot, ok := route.Slot(cell, snap); ok && v.Raw(slot) != 0 {
			return cell
		}
	}
	return ""
}

// departedFrom says whether a position has a place in a cell that is no source of the watch any more, without saying
// that the cell had nothing more to tell when it left. A watch of one name has the cells in which that may be, any other
// one has all.
func departedFrom(v version.Vector, slots []int) bool {
	for slot := range v {
		if slot == version.RCP || standing(v, slot) == 0 || slices.Contains(slots, slot) {
			continue
		}
		return true
	}
	return false
}

// wholeVector is a start from a list or a bookmark, which must know every source.
func wholeVector(v version.Vector, slots []int) (start, error) {
	for _, slot := range slots {
		if standing(v, slot) == 0 {
			return start{}, fmt.Errorf("%w: it is from before a cell joined", stream.ErrExpired)
		}
	}
	return start{position: v}, nil
}

// beginAtObject is a start from one object's version. It is exact for the object's cell. What the client has
// seen of the others depends on where it has the version from. If it read the event in a stream of this
// scope, and no other router can have shown it, that tells. Otherwise the others start where they were before
// the version was made, and where no stream was beyond that wrote it: events may come again, and none is
// missed. Where the stream in which it was read may be one of which that is forgotten, or anything else is not certain,
// it is expired.
func (wr *watchRequest) beginAtObject(o version.Object, slots []int) (start, error) {
	if len(slots) == 1 && slots[0] == o.Slot {
		position := version.Vector{}
		position.Set(o.Slot, o.Raw)
		return start{position: position, inexact: true}, nil
	}
	made := wr.made(o, slots)
	if made.IsZero() || wr.info.Resource == "events" {
		// Events may be in an etcd of their own, whose versions the samples do not know.
		return start{}, fmt.Errorf("%w: it is not known when that version was made", stream.ErrExpired)
	}
	if since, alone := wr.h.aloneSince(); !alone || !made.After(since) {
		return start{}, fmt.Errorf("%w: another router may have shown that version", stream.ErrExpired)
	}
	known := wr.h.journals.Find(wr.scope(), wr.reader(), o.Slot, o.Raw)
	if known.Forgotten && known.Exact == nil {
		return start{}, fmt.Errorf("%w: it is not known any more what was shown before that version", stream.ErrExpired)
	}
	if known.Exact != nil {
		if whole, err := wholeVector(known.Exact, slots); err == nil {
			whole.inexact = true
			return whole, nil
		}
	}
	position, err := wr.before(o, slots, made, known.AtMost)
	return start{position: position, inexact: true}, err
}

// made returns a time at or before which an object's version was made, zero where none is known.
func (wr *watchRequest) made(o version.Object, slots []int) time.Time {
	var made time.Time
	for i, slot := range slots {
		if slot != o.Slot {
			continue
		}
		// It was made after the last sample that does not know it yet had begun.
		for _, sample := range wr.samples(wr.sources[i]) {
			if sample.Raw < o.Raw {
				made = sample.Started
			}
		}
	}
	return made
}

// before finds where all other cells were when the object's version was made at the earliest, or at atMost
// where that is lower.
func (wr *watchRequest) before(o version.Object, slots []int, made time.Time, atMost version.Vector) (version.Vector, error) {
	position := version.Vector{}
	position.Set(o.Slot, o.Raw)
	for i, slot := range slots {
		if slot == o.Slot {
			continue
		}
		for _, sample := range wr.samples(wr.sources[i]) {
			if sample.Done.Before(made) {
				position.Set(slot, sample.Raw)
			}
		}
		if atMost != nil {
			position.Set(slot, min(position.Raw(slot), atMost.Raw(slot)))
		}
		if position.Raw(slot) == 0 {
			return nil, fmt.Errorf("%w: it is not known where %s was when that version was made", stream.ErrExpired, wr.sources[i])
		}
	}
	return position, nil
}

func (wr *watchRequest) samples(source string) []upstream.Sample {
	plane, err := wr.state.ControlPlane(source)
	if err != nil {
		return nil
	}
	return plane.Sampled()
}

// openedWatch is the answer of one source; none where it is to be asked again.
type openedWatch struct {
	slot   int
	answer *http.Response
	// marked is set where the source was asked to say when its initial events end.
	marked bool
}

// open asks all sources at once. A source with a known position may come later, as long as another one
// answers; without one of the others the watch would miss what exists there, and is refused.
func (wr *watchRequest) open(ctx context.Context) ([]*openedWatch, *failedPart) {
	type result struct {
		i       int
		opened  *openedWatch
		failure *failedPart
	}
	results := make(chan result, len(wr.sources))
	opened := make([]*openedWatch, len(wr.sources))
	cancels := make([]context.CancelFunc, len(wr.sources))
	for i, source := range wr.sources {
		slot, _ := route.Slot(source, wr.state.Snapshot)
		opened[i] = &openedWatch{slot: slot}
		var its context.Context
		its, cancels[i] = context.WithCancel(ctx) //nolint:gosec // cancelled below, or by the end of ctx
		go func() {
			opened, failure := wr.openOne(its, source, slot)
			results <- result{i, opened, failure}
		}()
	}
	failures := make([]*failedPart, len(wr.sources))
	waiting := len(wr.sources)
	patience := time.After(firstAnswer)
	for waiting > 0 {
		select {
		case got := <-results:
			waiting--
			opened[got.i], failures[got.i] = got.opened, got.failure
			if got.failure != nil && got.failure.refusal() {
				patience = time.After(afterRefusal)
			}
			continue
		case <-patience:
		}
		if firstRefusal(failures) == nil && !wr.mayComeLater(opened, failures) {
			patience = nil
			continue
		}
		refusal := firstRefusal(failures)
		for i, o := range opened {
			if o.answer == nil && failures[i] == nil {
				cancels[i]()
				failures[i] = refusal
			}
		}
		late := waiting
		go func() {
			for range late {
				closeAll([]*openedWatch{(<-results).opened})
			}
		}()
		waiting = 0
	}
	if failure := worst(wr.serious(opened, failures)); failure != nil {
		closeAll(opened)
		return nil, failure
	}
	return opened, nil
}

// firstRefusal is what a source says that refuses the watch itself, nil where none does.
func firstRefusal(failures []*failedPart) *failedPart {
	for _, f := range failures {
		if f != nil && f.refusal() {
			return f
		}
	}
	return nil
}

// mayComeLater says whether every source that has not answered can begin later, beside one that has.
func (wr *watchRequest) mayComeLater(opened []*openedWatch, failures []*failedPart) bool {
	for i, o := range opened {
		if o.answer == nil && failures[i] == nil && wr.start.position.Raw(o.slot) == 0 {
			return false
		}
	}
	return firstOpened(opened) != nil
}

// serious leaves out the failures that concern one source alone, where it can begin later.
func (wr *watchRequest) serious(opened []*openedWatch, failures []*failedPart) []*failedPart {
	if firstOpened(opened) == nil {
		return failures
	}
	for i, f := range failures {
		if f != nil && !f.refusal() && wr.start.position.Raw(opened[i].slot) != 0 {
			failures[i] = nil
		}
	}
	return failures
}

// openOne asks one source for its part from the start.
func (wr *watchRequest) openOne(ctx context.Context, source string, slot int) (*openedWatch, *failedPart) {
	opened := &openedWatch{slot: slot}
	var failure *failedPart
	query := wr.upstreamQuery()
	if raw := wr.start.position.Raw(slot); raw != 0 {
		query.Set("resourceVersion", strconv.FormatInt(raw, 10))
		opened.answer, failure = wr.ask(ctx, source, query) //nolint:bodyclose // the stream closes it
		return opened, failure
	}
	setOrDelete(query, "resourceVersion", wr.start.resourceVersion)
	opened.marked = wr.initialEvents()
	// A watch that begins with what exists is asked to say when that was all, so that the stream knows
	// where it stands.
	added := wr.options.SendInitialEvents == nil && wr.options.ResourceVersionMatch == ""
	if added {
		opened.marked = true
		query.Set("sendInitialEvents", "true")
		query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	}
	opened.answer, failure = wr.ask(ctx, source, query) //nolint:bodyclose // the stream closes it
	if added && failure != nil && failure.refusal() {
		// An older control plane cannot say so.
		opened.marked = false
		query.Del("sendInitialEvents")
		query.Del("resourceVersionMatch")
		opened.answer, failure = wr.ask(ctx, source, query) //nolint:bodyclose // the stream closes it
	}
	return opened, failure
}

func (wr *watchRequest) ask(ctx context.Context, source string, query url.Values) (*http.Response, *failedPart) {
	answer, err := wr.send(ctx, source, query)
	switch {
	case err != nil:
		return nil, &failedPart{source: source, err: err}
	case answer.StatusCode == http.StatusOK:
		return answer, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	if err != nil {
		return nil, &failedPart{source: source, err: errors.Join(errors.New(answer.Status), err)}
	}
	return nil, &failedPart{source: source, answer: answer, body: body}
}

func setOrDelete(query url.Values, name, value string) {
	if value == "" {
		query.Del(name)
		return
	}
	query.Set(name, value)
}

func firstOpened(opened []*openedWatch) *openedWatch {
	for _, o := range opened {
		if o.answer != nil {
			return o
		}
	}
	return nil
}

func closeAll(opened []*openedWatch) {
	for _, o := range opened {
		if o.answer != nil {
			_ = o.answer.Body.Close()
		}
	}
}
