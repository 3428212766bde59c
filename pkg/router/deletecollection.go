package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// deleteWorkers is how many objects are deleted at once in each source.
const deleteWorkers = 8

// deletion is one client's deletion of a collection: of the objects that a list with the same selectors shows, and of
// nothing else that the cells hold.
//
// Each object is deleted by itself, as the user, with its UID for a precondition, or with that of its copy where it has
// moved; see [trail]. So the user needs the rights to list and to delete beside that to delete collections.
type deletion struct {
	*listing
	options metav1.DeleteOptions
	// targets are the objects by source, in the order of the listing's sources.
	targets [][]wire.Meta
	deleted atomic.Int64
}

// deleteCollection answers with the list of what it deleted, as an apiserver does. Where a source fails, the objects of
// the others are deleted all the same, and the answer says how many were and what failed.
func (h *handler) deleteCollection(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	if !h.may(state) {
		h.fail(w, r, route.Unregistered())
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	options, err := deleteOptions(w, r, info)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	values := r.URL.Query()
	for name := range optionValues(options) {
		values.Del(name)
	}
	l, err := h.newListing(w, r, state, info, sources, values)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer l.close()
	d := &deletion{listing: l, options: *options, targets: make([][]wire.Meta, len(sources))}
	if failure := d.mayDelete(); failure != nil {
		h.answerFailure(w, r, failure)
		return
	}
	if err := d.run(ctx); err != nil {
		l.refuse(err)
	}
}

// run lists, deletes and answers.
func (d *deletion) run(ctx context.Context) error {
	merger, err := d.begin()
	if err != nil {
		return err
	}
	out := d.output()
	defer out.close()
	listed := merge.NewSpool("")
	defer func() { _ = listed.Close() }()
	err = d.write(merger, out, listed, func(source *listSource, object wire.Meta) {
		i := slices.Index(d.sources, source)
		d.targets[i] = append(d.targets[i], object)
	})
	if err != nil {
		return err
	}
	if err := d.deleteAll(ctx); err != nil {
		return err
	}
	_, err = listed.WriteTo(out)
	if err == nil {
		err = out.end()
	}
	if err != nil && out.committed {
		panic(http.ErrAbortHandler)
	}
	return err
}

// mayDelete asks every source whether it would delete such a collection for the user, without deleting anything: the
// refusals are those of the control planes.
func (d *deletion) mayDelete() *failedPart {
	query := optionValues(&d.options)
	query.Set("dryRun", metav1.DryRunAll)
	query.Set("limit", "1")
	for _, selector := range []string{"labelSelector", "fieldSelector"} {
		if value := d.query.values.Get(selector); value != "" {
			query.Set(selector, value)
		}
	}
	failures := make([]*failedPart, len(d.sources))
	var asked sync.WaitGroup
	for i, s := range d.sources {
		asked.Go(func() {
			// One that the fence guards came past all that decides whether the user may.
			if _, f := s.delete(s.request.Context(), d.r.URL.Path, query, nil); !f.fenced() {
				failures[i] = f
			}
		})
	}
	asked.Wait()
	return worst(failures)
}

// deleteAll deletes the targets, those of all sources at once. A source that fails is left alone from then on.
func (d *deletion) deleteAll(ctx context.Context) error {
	failures := make([]*failedPart, len(d.sources))
	var sources sync.WaitGroup
	for i, s := range d.sources {
		sources.Go(func() { failures[i] = d.deleteFrom(ctx, s, d.targets[i]) })
	}
	sources.Wait()
	total := 0
	for _, targets := range d.targets {
		total += len(targets)
	}
	for _, f := range failures {
		if f != nil {
			return f.afterDeleting(d.deleted.Load(), total)
		}
	}
	return nil
}

// deleteFrom deletes the targets of one source until one fails.
func (d *deletion) deleteFrom(ctx context.Context, s *listSource, targets []wire.Meta) *failedPart {
	queue := make(chan wire.Meta)
	stop := make(chan struct{})
	var failure *failedPart
	var once sync.Once
	var workers sync.WaitGroup
	for range min(deleteWorkers, len(targets)) {
		workers.Go(func() {
			for object := range queue {
				if f := d.deleteOne(ctx, s, object); f != nil {
					once.Do(func() { failure = f; close(stop) })
					return
				}
			}
		})
	}
feed:
	for _, object := range targets {
		select {
		case queue <- object:
		case <-stop:
			break feed
		}
	}
	close(queue)
	workers.Wait()
	return failure
}

// deleteOne deletes one object. One that is gone, or that another one has taken the name of, is done with.
func (d *deletion) deleteOne(ctx context.Context, s *listSource, object wire.Meta) *failedPart {
	options := d.options.DeepCopy()
	options.Kind, options.APIVersion = "DeleteOptions", "v1"
	ours := options.Preconditions == nil
	if ours {
		options.Preconditions = metav1.NewUIDPreconditions(object.UID)
	} else if given := options.Preconditions.ResourceVersion; given != nil {
		raw, err := precondition(s.slot)(*given)
		if err != nil {
			return s.failure(err)
		}
		options.Preconditions.ResourceVersion = &raw
	}
	path := strings.TrimSuffix(d.r.URL.Path, "/") + "/" + object.Name
	done, f, stays := d.deleteWhere(ctx, s, path, object, options)
	if !stays {
		f = d.deleteMoving(ctx, s, path, object, options, ours)
	}
	var unprotected error
	if done != nil {
		unprotected = d.protect(s, object, done)
	}
	switch {
	case unprotected != nil:
		return s.failure(unprotected)
	case f == nil:
		d.deleted.Add(1)
	case f.status() == http.StatusNotFound, f.status() == http.StatusConflict && ours && stays && d.gone(ctx, s, object):
		return nil
	}
	return f
}

// errRingChanged ends a deletion in the middle of a failover: what was listed is not all that there is any more.
var errRingChanged = errors.New("a cell was failed over since the objects were listed")

// deleteWhere deletes an object where it was listed. It is a write by itself: a step of a rebalance waits for its end, and
// for that of no other. stays is false where the object moves, or counts elsewhere by a newer ring.
func (d *deletion) deleteWhere(ctx context.Context, s *listSource, path string, object wire.Meta, options *metav1.DeleteOptions) (done *answered, f *failedPart, stays bool) {
	begun := d.h.begin(feed.Placed)
	defer begun.End()
	was, now := d.state.Snapshot, begun.Snapshot
	switch {
	case !maps.Equal(was.Unavailable, now.Unavailable), !maps.Equal(was.Promoting, now.Promoting):
		return nil, s.failure(errRingChanged), true
	case s.plane.Name() != route.RCP && !d.h.may(begun.State):
		return nil, s.failure(route.Unregistered()), true
	case was.Epoch != now.Epoch && !stillAt(d.info, now, s.plane.Name(), object):
		return nil, nil, false
	}
	switch marked, err := d.marked(ctx, s, begun.State, object); {
	case err != nil:
		return nil, s.failure(err), true
	case marked:
		return nil, nil, false
	}
	if done, f = s.delete(ctx, path, nil, options); done != nil {
		d.account(s, object, done)
	}
	return done, f, !f.fenced()
}

// deleting is the deletion of one object of a collection.
func deleting(info *request.RequestInfo, object wire.Meta) *request.RequestInfo {
	named := *info
	named.Verb, named.Name, named.Namespace = "delete", object.Name, namespaceOf(info, object)
	return &named
}

// stillAt says whether an object that was listed in a control plane may be there by a newer ring.
func stillAt(info *request.RequestInfo, snap *routing.Snapshot, source string, object wire.Meta) bool {
	to := route.Decide(deleting(info, object), snap)
	return to.Source == source || slices.Contains(to.Sources, source)
}

// marked says whether the object bears a mark of a move by now: what a move left keeps its UID, and not every cell has a
// fence that refuses its deletion. A move that marks it later waits for the end of this write.
func (d *deletion) marked(ctx context.Context, s *listSource, state *feed.State, object wire.Meta) (bool, error) {
	info := deleting(d.info, object)
	_, moves := route.Moves(info.APIGroup, info.Resource, info.Namespace, info.Name, state.Snapshot)
	if !moves && d.state.Snapshot.Epoch == state.Snapshot.Epoch {
		return false, nil
	}
	found, err := metadataIn(ctx, state, info, s.plane.Name())
	if err != nil || found == nil {
		return false, err
	}
	return statusOf(found) != "" && string(found.UID) == object.UID, nil
}

// gone tells a conflict of the UID from those that have other reasons, such as a webhook's: the object is not there any
// more, or another one is in its place. It is false where that cannot be found out.
func (d *deletion) gone(ctx context.Context, s *listSource, object wire.Meta) bool {
	resource := schema.GroupVersionResource{Group: d.info.APIGroup, Version: d.info.APIVersion, Resource: d.info.Resource}
	found, err := s.plane.Metadata().Resource(resource).Namespace(d.info.Namespace).Get(ctx, object.Name, metav1.GetOptions{})
	return apierrors.IsNotFound(err) || err == nil && string(found.UID) != object.UID
}

// account puts a deletion that a cell has accepted into the ledger, before the write counts as ended: a failover reads the
// ledgers when all writes have.
func (d *deletion) account(s *listSource, object wire.Meta, done *answered) {
	if done.meta.UID == "" {
		done.meta.UID = object.UID
	}
	if info := deleting(d.info, object); d.counts(s, info) {
		d.h.account(s.plane.Name(), info, *done)
	}
}

// protect has the envelope of what is protected go with it.
func (d *deletion) protect(s *listSource, object wire.Meta, done *answered) error {
	info := deleting(d.info, object)
	if guarded := d.h.protection(d.state, info, s.plane); d.counts(s, info) && guarded != nil {
		return guarded.store(d.r, *done)
	}
	return nil
}

// counts says whether a deletion is one of what has a backup.
func (d *deletion) counts(s *listSource, info *request.RequestInfo) bool {
	return len(d.options.DryRun) == 0 && s.plane.Name() != route.RCP && hasBackup(info, d.state.Snapshot)
}

// delete sends one deletion to the source.
func (s *listSource) delete(ctx context.Context, path string, query url.Values, options *metav1.DeleteOptions) (*answered, *failedPart) {
	out := s.request.Clone(ctx)
	out.Method = http.MethodDelete
	out.Header = http.Header{"Accept": {runtime.ContentTypeJSON}, "User-Agent": s.request.Header["User-Agent"]}
	out.URL = &url.URL{Path: path, RawQuery: query.Encode()}
	out.Body, out.ContentLength = http.NoBody, 0
	if options != nil {
		body, err := json.Marshal(options)
		if err != nil {
			return nil, s.failure(err)
		}
		out.Header["Content-Type"] = []string{runtime.ContentTypeJSON}
		out.Body, out.ContentLength = io.NopCloser(strings.NewReader(string(body))), int64(len(body))
	}
	answer, err := s.plane.Do(out)
	if err != nil {
		return nil, s.failure(err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return nil, s.failure(s.refused(answer))
	}
	var text []byte
	if err := readAnswer(&text, answer); err != nil {
		return nil, s.failure(err)
	}
	done := answeredBy(answer.Header.Get("Content-Type"), text)
	return &done, nil
}

// afterDeleting is the answer where a source failed when part of the work was done. What is still on the move then is to
// be deleted later: 429.
func (f *failedPart) afterDeleting(deleted int64, total int) error {
	so := fmt.Sprintf("deleted %d of %d objects", deleted, total)
	if f.refusal() || f.status() == http.StatusTooManyRequests {
		refusal := &apierrors.StatusError{}
		if json.Unmarshal(f.body, &refusal.ErrStatus) == nil && refusal.ErrStatus.Status == metav1.StatusFailure {
			refusal.ErrStatus.Message = fmt.Sprintf("%s; %s: %s", so, f.source, refusal.ErrStatus.Message)
			return refusal
		}
	}
	return route.Unavailable(f.source, fmt.Sprintf("%s; %s", so, f.Error()))
}

// deleteOptions reads what the client sends: in the body, which the request keeps, or else in the query.
func deleteOptions(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) (*metav1.DeleteOptions, error) {
	body, err := keepBody(w, r)
	if err != nil {
		return nil, err
	}
	options := &metav1.DeleteOptions{}
	v1 := schema.GroupVersion{Version: "v1"}
	if _, err := mediaOf(r, info, body); err != nil {
		return nil, err
	}
	if len(body) == 0 {
		if err := metainternalscheme.ParameterCodec.DecodeParameters(r.URL.Query(), v1, options); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return options, nil
	}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, v1)
	// A client may write them as its resource's group has them.
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion})
	decoder := serializer.NewCodecFactory(scheme).UniversalDeserializer()
	kind := v1.WithKind("DeleteOptions")
	if _, _, err := decoder.Decode(body, &kind, options); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, nil
}

// optionValues are the options as a query has them.
func optionValues(options *metav1.DeleteOptions) url.Values {
	values := url.Values{"dryRun": options.DryRun}
	if p := options.PropagationPolicy; p != nil {
		values.Set("propagationPolicy", string(*p))
	}
	if g := options.GracePeriodSeconds; g != nil {
		values.Set("gracePeriodSeconds", fmt.Sprint(*g))
	}
	if o := options.OrphanDependents; o != nil { //nolint:staticcheck // clients may still send it
		values.Set("orphanDependents", fmt.Sprint(*o))
	}
	return values
}
