package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// joinRetry is how long to wait before a cell that joined is asked again where it stands.
const joinRetry = time.Second

// changes tells a running watch what becomes of its sources when the ring changes: a cell that joins is
// added, one that leaves is taken out, and the failure of one ends the watch, since clients must list
// again. It ends with ctx.
func (wr *watchRequest) changes(ctx context.Context) <-chan stream.Change {
	out := make(chan stream.Change)
	go func() {
		state, sources := wr.state, wr.sources
		for {
			select {
			case <-ctx.Done():
				return
			case <-state.Replaced():
			}
			state = wr.h.state()
			change, now := wr.change(ctx, state, sources)
			sources = now
			if !change.Expire && len(change.Add) == 0 && len(change.Remove) == 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case out <- change:
			}
		}
	}()
	return out
}

// change compares the sources of a watch with those that a new state gives it.
func (wr *watchRequest) change(ctx context.Context, state *feed.State, before []string) (change stream.Change, now []string) {
	now = sourcesOf(route.Decide(wr.info, state.Snapshot))
	for _, source := range before {
		if state.Snapshot.Unavailable[source] && !wr.state.Snapshot.Unavailable[source] {
			return stream.Change{Expire: true}, now
		}
		if !slices.Contains(now, source) {
			change.Remove = append(change.Remove, source)
		}
	}
	for _, source := range now {
		if slices.Contains(before, source) {
			continue
		}
		slot, ok := route.Slot(source, state.Snapshot)
		position, err := wr.now(ctx, source)
		if !ok || err != nil {
			return stream.Change{Expire: true}, now
		}
		change.Add = append(change.Add, wr.streamSource(source, slot, position))
	}
	return change, now
}

func sourcesOf(to route.Route) []string {
	if to.Action == route.Forward {
		return []string{to.Source}
	}
	return to.Sources
}

// now asks a source where it stands, until it answers or ctx ends.
func (wr *watchRequest) now(ctx context.Context, source string) (int64, error) {
	for {
		position, err := wr.askPosition(ctx, source)
		if err == nil || errors.Is(err, stream.ErrRefused) {
			return position, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(joinRetry):
		}
	}
}

// listPath is the path of the list that a watch belongs to: a watch may have a path of its own, with
// /watch/ in it.
func listPath(info *request.RequestInfo) string {
	parts := []string{info.APIPrefix, info.APIGroup, info.APIVersion}
	if info.Namespace != "" {
		parts = append(parts, "namespaces", info.Namespace)
	}
	return "/" + path.Join(append(parts, info.Resource)...)
}

func (wr *watchRequest) askPosition(ctx context.Context, source string) (int64, error) {
	query := wr.upstreamQuery()
	for _, name := range []string{"watch", "allowWatchBookmarks", "sendInitialEvents", "resourceVersion", "resourceVersionMatch"} {
		query.Del(name)
	}
	query.Set("limit", "1")
	plane, err := wr.h.state().ControlPlane(source)
	if err != nil {
		return 0, err
	}
	out := wr.r.Clone(ctx)
	out.URL = &url.URL{Path: listPath(wr.info), RawQuery: query.Encode()}
	out.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	out.Body = http.NoBody
	answer, err := plane.Do(out)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return 0, err
	case answer.StatusCode >= 400 && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests:
		return 0, fmt.Errorf("%w: %s", stream.ErrRefused, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return 0, errors.New(answer.Status)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(body, &list); err != nil {
		return 0, fmt.Errorf("read position of %s: %w", source, err)
	}
	return version.ParseRaw(list.ResourceVersion)
}
