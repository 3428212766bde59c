package router

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// minWatch is how long a watch lasts at least that sets no time of its own, and twice that at most: the
	// apiserver's default.
	minWatch = 30 * time.Minute
	// sourceOutlasts is how much longer a source may go on than the watch.
	sourceOutlasts = time.Minute
	// lookTimeout is how long a stream waits to hear of an object elsewhere; then clients have to list again. The deletion of
	// one waits as long.
	lookTimeout = 5 * time.Second
	// slowClient is the default of Config.SlowClient.
	slowClient = 30 * time.Second
)

// watchRequest is one client's watch over one or more control planes.
type watchRequest struct {
	h       *handler
	w       http.ResponseWriter
	r       *http.Request
	info    *request.RequestInfo
	state   *feed.State
	sources []string
	options metav1.ListOptions
	query   url.Values
	start   start
	// lasts is how long the watch lasts.
	lasts time.Duration
	// contentType is that of the stream, once a source has answered.
	contentType string
}

// watch serves a watch over all sources as one.
func (h *handler) watch(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	if h.refusesWatches(w, r) {
		return
	}
	wr := &watchRequest{h: h, w: w, r: r, info: info, state: state, sources: sources, query: r.URL.Query()}
	if len(sources) == 0 {
		h.fail(w, r, route.Unavailable("", "the federation has no cells yet"))
		return
	}
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&wr.query, &wr.options, nil); err != nil {
		h.fail(w, r, apierrors.NewBadRequest(err.Error()))
		return
	}
	asked, err := version.Parse(wr.options.ResourceVersion)
	if err != nil {
		h.fail(w, r, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion: Invalid value: %q: %v", wr.options.ResourceVersion, err)))
		return
	}
	if wr.start, err = wr.begin(asked); err != nil {
		wr.expired(err)
		return
	}
	wr.lasts = minWatch + rand.N(minWatch)
	if t := wr.options.TimeoutSeconds; t != nil && *t > 0 {
		wr.lasts = time.Duration(*t) * time.Second
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	opened, failure := wr.open(ctx)
	if failure != nil {
		h.answerFailure(w, r, failure)
		return
	}
	// Only now, when the cells have said that the client may watch this.
	journal, release := h.journals.Acquire(wr.scope(), time.Now())
	defer func() { release(time.Now()) }()
	wr.serve(ctx, opened, journal)
}

// reader is who reads the stream, in few bytes: the same client, as far as one can tell.
func (wr *watchRequest) reader() string {
	name := ""
	if user, ok := request.UserFrom(wr.r.Context()); ok {
		name = user.GetName()
	}
	host, _, err := net.SplitHostPort(wr.r.RemoteAddr)
	if err != nil {
		host = wr.r.RemoteAddr
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{name, host, wr.r.UserAgent()}, "\n")))
	return string(sum[:])
}

func (wr *watchRequest) scope() stream.Scope {
	return stream.Scope{
		Group: wr.info.APIGroup, Resource: wr.info.Resource, Namespace: wr.info.Namespace,
		LabelSelector: wr.options.LabelSelector, FieldSelector: wr.options.FieldSelector,
	}
}

// serve answers with the stream, until it ends.
func (wr *watchRequest) serve(ctx context.Context, opened []*openedWatch, journal *stream.Journal) {
	first := firstOpened(opened)
	contentType := first.answer.Header.Get("Content-Type")
	format, err := watchFormat(contentType)
	if err != nil {
		closeAll(opened)
		wr.h.fail(wr.w, wr.r, err)
		return
	}
	wr.contentType = contentType
	header := wr.w.Header()
	header.Set("Content-Type", contentType)
	for _, warning := range first.answer.Header.Values("Warning") {
		header.Add("Warning", warning)
	}
	ending, stop := wr.ending(ctx)
	defer stop()
	measured := metrics.From(wr.r.Context())
	defer measured.Watching()()
	config := stream.Config{
		Format:     format,
		Sources:    wr.streamSources(opened),
		NoObjects:  wr.query.Get("includeObject") == string(metav1.IncludeNone),
		Judge:      wr.judge,
		Exists:     wr.exists,
		Vanished:   func(object wire.Meta) (bool, error) { return wr.vanished(ctx, object) },
		Past:       wr.past(ctx),
		Bookmarks:  wr.options.AllowWatchBookmarks,
		InitialEnd: wr.options.AllowWatchBookmarks && wr.initialEvents(),
		Inexact:    wr.start.inexact,
		Reader:     wr.reader(),
		Journal:    journal,
		Wrote:      measured.Event,
		Ending:     ending,
		Changes:    wr.changes(ctx),
	}
	if wsstream.IsWebSocketRequest(wr.r) {
		wr.streamWebSocket(ctx, config)
		return
	}
	wr.streamHTTP(ctx, config)
}

// streamHTTP writes the events one behind the other into the answer.
func (wr *watchRequest) streamHTTP(ctx context.Context, config stream.Config) {
	wr.w.WriteHeader(http.StatusOK)
	limited := newLimitedWriter(wr.w, wr.h.slowClient)
	defer limited.limit.end()
	_ = limited.FlushError() // where it cannot, the first event tells
	config.Write = func(frame []byte) error {
		_, err := limited.Write(frame)
		return err
	}
	config.Flush = limited.FlushError
	err := stream.Run(ctx, config)
	if err != nil && ctx.Err() == nil {
		// The client is too slow or gone: what it has of the event is not whole.
		panic(http.ErrAbortHandler)
	}
}

// streamWebSocket sends each event as a message of its own, as an apiserver does to clients in browsers.
func (wr *watchRequest) streamWebSocket(ctx context.Context, config stream.Config) {
	serve := func(ws *websocket.Conn) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer func() { _ = ws.Close() }()
		go func() {
			// Clients have nothing to say; they close.
			wsstream.IgnoreReceives(ws, 0)
			cancel()
		}()
		config.Write = func(frame []byte) error {
			return wr.sendMessage(ws, config.Format, frame)
		}
		config.Flush = func() error { return nil }
		// An error is the client's connection; there is nobody left to tell.
		_ = stream.Run(ctx, config)
	}
	websocket.Handler(serve).ServeHTTP(wr.w, wr.r)
}

// sendMessage sends one event.
func (wr *watchRequest) sendMessage(ws *websocket.Conn, format wire.Format, frame []byte) error {
	if err := ws.SetWriteDeadline(time.Now().Add(wr.h.slowClient)); err != nil {
		return err
	}
	if format == wire.JSON {
		return websocket.Message.Send(ws, string(bytes.TrimSuffix(frame, []byte("\n"))))
	}
	return websocket.Message.Send(ws, frame)
}

// initialEvents says whether the client asked for what exists, and for being told when that was all.
func (wr *watchRequest) initialEvents() bool {
	return wr.options.SendInitialEvents != nil && *wr.options.SendInitialEvents
}

func (wr *watchRequest) judge(source string, object wire.Meta) (stream.Kind, int64) {
	verdict := judge(wr.info, object, source, wr.h.state().Snapshot)
	switch verdict.Kind {
	case merge.Shown:
		return stream.Shown, 0
	case merge.Moved:
		return stream.Moved, 0
	case merge.Contends:
		if verdict.Rank%2 == 1 {
			return stream.Leaving, verdict.Rank
		}
		return stream.Arrived, verdict.Rank
	}
	if wr.departed(source, object) {
		return stream.Departed, 0
	}
	return stream.Hidden, 0
}

// departed says whether an object that does not count in a cell may have counted there before its key moved: nobody
// has marked it as one that moved, or as a copy.
func (wr *watchRequest) departed(source string, object wire.Meta) bool {
	snap, namespace := wr.h.state().Snapshot, namespaceOf(wr.info, object)
	class, _ := snap.Classes.Of(wr.info.APIGroup, wr.info.Resource, namespace)
	return class == placement.Sharded && source != route.RCP && seenOf(object) == shown &&
		!placement.IsSelfMade(wr.info.APIGroup, wr.info.Resource, namespace, object.Name) &&
		!mayHave(wr.info, object, source, snap)
}

// vanished says whether an object that was deleted where it does not count any more is nowhere now: it was deleted
// before it moved.
func (wr *watchRequest) vanished(ctx context.Context, object wire.Meta) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	there, err := wr.found(ctx, object)
	return !there, err
}

// exists says whether an object that has moved is in one of the other sources. Where that is not known it is taken
// for there.
func (wr *watchRequest) exists(ctx context.Context, object wire.Meta) bool {
	there, err := wr.found(ctx, object)
	return there || err != nil
}

// found looks for an object in the cells in which it counts, under the watch's selectors.
func (wr *watchRequest) found(ctx context.Context, object wire.Meta) (bool, error) {
	state := wr.h.state()
	for _, source := range sourcesOf(route.Decide(wr.info, state.Snapshot)) {
		if !mayHave(wr.info, object, source, state.Snapshot) {
			continue
		}
		found, err := wr.named(ctx, state, source, object, 0)
		if err != nil || found != nil && statusOf(found) != v1alpha1.Migrated {
			return err == nil, err
		}
	}
	return false, nil
}

// ending is closed when the watch has lasted as long as it may, or the router stops.
func (wr *watchRequest) ending(ctx context.Context) (<-chan struct{}, func()) {
	ctx, cancel := context.WithTimeout(ctx, wr.lasts)
	stop := context.AfterFunc(wr.h.leaving, cancel)
	return ctx.Done(), func() { stop(); cancel() }
}

// expired answers a watch whose start is not known any more with 410 as its only event, as an apiserver
// does. Any other error is answered as such.
func (wr *watchRequest) expired(err error) {
	if !errors.Is(err, stream.ErrExpired) {
		wr.h.fail(wr.w, wr.r, err)
		return
	}
	format, contentType := wire.JSON, runtime.ContentTypeJSON
	if strings.HasPrefix(wr.r.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		format, contentType = wire.Protobuf, runtime.ContentTypeProtobuf+";stream=watch"
	}
	status := apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %s (%v)", wr.options.ResourceVersion, err)).ErrStatus
	object, err := format.AppendStatus(nil, status)
	if err != nil {
		wr.h.fail(wr.w, wr.r, err)
		return
	}
	event := format.AppendEvent(nil, string(watch.Error), object)
	// Errors here are the client's connection; there is nobody left to tell.
	if wsstream.IsWebSocketRequest(wr.r) {
		websocket.Handler(func(ws *websocket.Conn) {
			_ = wr.sendMessage(ws, format, event)
			_ = ws.Close()
		}).ServeHTTP(wr.w, wr.r)
		return
	}
	wr.w.Header().Set("Content-Type", contentType)
	wr.w.WriteHeader(http.StatusOK)
	_, _ = wr.w.Write(event)
}

func watchFormat(contentType string) (wire.Format, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && mediaType == runtime.ContentTypeJSON:
		return wire.JSON, nil
	case err == nil && mediaType == runtime.ContentTypeProtobuf:
		return wire.Protobuf, nil
	}
	return 0, notAcceptable(fmt.Errorf("a watch is served as %s or %s, not as %q", runtime.ContentTypeJSON, runtime.ContentTypeProtobuf, contentType))
}

// streamSources are the sources as package stream wants them.
func (wr *watchRequest) streamSources(opened []*openedWatch) []stream.Source {
	out := make([]stream.Source, len(wr.sources))
	for i, name := range wr.sources {
		out[i] = wr.streamSource(name, opened[i].slot, wr.start.position.Raw(opened[i].slot))
		if opened[i].answer != nil {
			out[i].First, out[i].Marked = opened[i].answer.Body, opened[i].marked
		}
	}
	return out
}

func (wr *watchRequest) streamSource(name string, slot int, position int64) stream.Source {
	return stream.Source{
		Name: name, Slot: slot, Position: position,
		Open: func(ctx context.Context, position int64) (io.ReadCloser, error) {
			return wr.reopen(ctx, name, position)
		},
	}
}

// reopen goes on with a watch of one source from a known position.
func (wr *watchRequest) reopen(ctx context.Context, source string, position int64) (io.ReadCloser, error) {
	query := wr.upstreamQuery()
	query.Set("resourceVersion", strconv.FormatInt(position, 10))
	query.Del("resourceVersionMatch")
	query.Del("sendInitialEvents")
	answer, err := wr.send(ctx, source, query)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK && answer.Header.Get("Content-Type") == wr.contentType {
		return answer.Body, nil
	}
	_ = answer.Body.Close()
	switch code := answer.StatusCode; {
	case code == http.StatusGone:
		return nil, stream.ErrExpired
	case code == http.StatusOK:
		return nil, fmt.Errorf("%w: it is %q now", stream.ErrRefused, answer.Header.Get("Content-Type"))
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout && code != http.StatusUnauthorized:
		return nil, fmt.Errorf("%w: %s", stream.ErrRefused, answer.Status)
	}
	return nil, errors.New(answer.Status)
}

// upstreamQuery is what every source is asked. How long the watch lasts is decided here; a source that ended
// it earlier, as apiservers do without a time of their own, would have to be opened again.
func (wr *watchRequest) upstreamQuery() url.Values {
	query := url.Values{}
	for name, values := range wr.query {
		query[name] = values
	}
	query.Set("timeoutSeconds", strconv.Itoa(int((wr.lasts+sourceOutlasts)/time.Second)))
	query.Set("allowWatchBookmarks", "true")
	if query.Get("includeObject") == string(metav1.IncludeNone) {
		// A row alone does not say whose it is.
		query.Set("includeObject", string(metav1.IncludeMetadata))
	}
	return query
}

func (wr *watchRequest) send(ctx context.Context, source string, query url.Values) (*http.Response, error) {
	plane, err := wr.h.state().ControlPlane(source)
	if err != nil {
		return nil, err
	}
	out := wr.r.Clone(ctx)
	out.URL.RawQuery = query.Encode()
	out.Body = http.NoBody
	out.ContentLength = 0
	return plane.Do(out)
}
