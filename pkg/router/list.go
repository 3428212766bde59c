package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// listing is one client's list over one or more sources.
type listing struct {
	h       *handler
	w       http.ResponseWriter
	r       *http.Request
	info    *request.RequestInfo
	state   *feed.State
	query   *listQuery
	sources []*listSource
	// accept is what the sources are asked for. asYAML is true where what they answer in JSON is to be converted.
	accept string
	asYAML bool
	// cancel ends what is asked of the sources. ahead are those that are read ahead.
	cancel context.CancelFunc
	ahead  []*merge.Ahead
}

// list asks all sources at once and merges their answers as they come. Where one does not answer the whole list
// fails, and where one breaks off so does the answer: a list with objects missing would look like their deletion.
func (h *handler) list(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	l, err := h.newListing(w, r, state, info, sources, r.URL.Query())
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer l.close()
	merger, err := l.begin()
	if err != nil {
		l.refuse(err)
		return
	}
	out := l.output()
	defer out.close()
	if err := l.write(merger, out, out, nil); err != nil {
		if out.committed {
			// The client must not take what it has for the whole list.
			panic(http.ErrAbortHandler)
		}
		l.refuse(err)
		return
	}
	if err := out.end(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// newListing reads what the client asks for and prepares the sources. Nothing is sent yet. The caller closes it.
func (h *handler) newListing(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string, values url.Values) (*listing, error) {
	if len(sources) == 0 {
		return nil, route.Unavailable("", "the federation has no cells yet")
	}
	query, err := newListQuery(values, len(sources))
	if err != nil {
		return nil, err
	}
	if t := query.token; t != nil && !t.Inconsistent && t.Epoch != state.Snapshot.Epoch {
		// Objects may have moved since: what was in one cell then counts in another one now.
		return nil, query.expired(state.Snapshot.Epoch)
	}
	if query.exact() && failedOver(query.asked.Vector, state.Snapshot) != "" {
		return nil, apierrors.NewResourceExpired(tooOld)
	}
	l := &listing{h: h, w: w, r: r, info: info, state: state, query: query}
	l.accept, l.asYAML = singleAccept(strings.Join(r.Header["Accept"], ","))
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(r.Context())
	if err := l.newListSources(ctx, sources); err != nil {
		l.cancel()
		return nil, err
	}
	return l, nil
}

// sourceOf is the way to a source and its place in versions.
func sourceOf(state *feed.State, name string) (*upstream.ControlPlane, int, error) {
	plane, err := state.ControlPlane(name)
	if err != nil {
		return nil, 0, noPlane(name, err)
	}
	slot, ok := route.Slot(name, state.Snapshot)
	if !ok {
		return nil, 0, noPlane(name, errNoSlot)
	}
	return plane, slot, nil
}

func (l *listing) close() {
	if l.ahead == nil {
		defer l.cancel() // after what was read to its end has given its connection back
	} else {
		l.cancel()
	}
	for _, a := range l.ahead {
		a.Stop()
	}
	for _, s := range l.sources {
		s.close()
	}
}

// begin asks all sources and waits until each has answered with its first item. Whole lists are read ahead. Of a page
// the sources would be asked for more than it takes.
func (l *listing) begin() (*merge.Merger, error) {
	parts := make([]merge.Part, len(l.sources))
	for i, s := range l.sources {
		parts[i] = s
		if l.query.limit == 0 {
			a := merge.NewAhead(s)
			l.ahead = append(l.ahead, a)
			parts[i] = a
		}
	}
	merger := merge.New(parts, l.info.Namespace != "", merge.Rules{Judge: l.judge, Fetch: l.fetch})
	failures := make([]*failedPart, len(parts))
	for i, err := range merger.Begin() {
		if err != nil {
			failures[i] = l.sources[i].failure(err)
		}
		if failures[i].status() == http.StatusGone {
			return nil, failures[i]
		}
	}
	if f := worst(failures); f != nil {
		return nil, f
	}
	return merger, nil
}

// failure is what went wrong with a source.
func (s *listSource) failure(err error) *failedPart {
	var f *failedPart
	if errors.As(err, &f) {
		return f
	}
	return &failedPart{source: s.plane.Name(), err: err}
}

func (l *listing) judge(part int, object wire.Meta) merge.Verdict {
	return judge(l.info, object, l.sources[part].plane.Name(), l.state.Snapshot)
}

// refuse answers instead of the list.
func (l *listing) refuse(err error) {
	var part *merge.PartError
	if errors.As(err, &part) {
		err = l.sources[part.Part].failure(part.Err)
	}
	var failed *failedPart
	switch {
	case l.r.Context().Err() != nil:
		// The client went away; nobody reads an answer.
	case !errors.As(err, &failed):
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			err = apierrors.NewInternalError(err)
		}
		l.h.fail(l.w, l.r, err)
	case failed.status() == http.StatusGone:
		l.h.fail(l.w, l.r, l.query.expired(l.state.Snapshot.Epoch))
	default:
		l.h.answerFailure(l.w, l.r, failed)
	}
}

// write writes one page, or all, to w, which is out or will be copied there. Each object is shown to each, which may be
// nil, before it is written.
func (l *listing) write(merger *merge.Merger, out *listOutput, w io.Writer, each func(source *listSource, object wire.Meta)) error {
	encoder, err := out.encoder(w)
	if err != nil {
		return err
	}
	after := ""
	for n := int64(0); l.query.limit == 0 || n < l.query.limit; n++ {
		part, key, item, err := merger.Next()
		if err == io.EOF { //nolint:errorlint // an error that wraps it is a connection that broke off
			return l.finish(encoder, "", nil)
		}
		if err != nil {
			return err
		}
		after = key
		s := l.sources[part]
		if each != nil {
			each(s, item.Meta)
		}
		if err := encoder.Item(merger.List(part), item.Raw); err != nil {
			return err
		}
	}
	more, err := merger.More()
	if err != nil {
		return err
	}
	if !more {
		return l.finish(encoder, "", nil)
	}
	remaining, err := l.remaining(merger)
	if err != nil {
		return err
	}
	return l.finish(encoder, after, remaining)
}

// finish writes the end of the list: its version, where it goes on if that is after an object, and how many more
// there are where that is known.
func (l *listing) finish(encoder merge.Encoder, after string, remaining *int64) error {
	at := version.Vector{}
	var list wire.ListMeta
	first := ""
	for _, s := range l.sources {
		if s.answer == nil {
			continue // there is nothing of it in the list
		}
		if err := s.settle(); err != nil {
			return err
		}
		at.Set(s.slot, s.at)
		switch {
		case first == "":
			first, list = s.plane.Name(), s.list
		case s.list.Kind != list.Kind || s.list.APIVersion != list.APIVersion:
			return s.failed(fmt.Errorf("it answers with %s %s, %s with %s %s", s.list.APIVersion, s.list.Kind, first, list.APIVersion, list.Kind))
		}
	}
	list.ResourceVersion, list.Continue, list.RemainingItemCount = at.String(), "", remaining
	if after != "" {
		list.Continue = merge.Token{At: at, After: after, Epoch: l.state.Snapshot.Epoch}.String()
	}
	return encoder.Finish(list)
}
