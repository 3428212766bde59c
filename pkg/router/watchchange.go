package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// joinRetry is how long to wait before a cell that joined is asked again for its part of a watch.
const joinRetry = time.Second

var errNotJoined = errors.New("it does not answer yet")

// changes tells a running watch what becomes of its sources when the ring changes: a cell that joins is
// added with what it has, one that leaves is taken out, and the failure of one ends the watch, since clients
// must list again. It ends with ctx.
func (wr *watchRequest) changes(ctx context.Context) <-chan stream.Change {
	out := make(chan stream.Change)
	go func() {
		state, sources := wr.state, wr.sources
		retry := time.NewTimer(time.Hour)
		retry.Stop()
		defer retry.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-retry.C:
			case <-state.Replaced():
			}
			before := state
			state = wr.h.state()
			change, now, missing := wr.change(ctx, state, sources)
			if missing {
				retry.Reset(joinRetry)
			}
			sources = now
			change.Settled = settled(before.Snapshot.Phase, state.Snapshot.Phase)
			if !change.Expire && !change.Settled && len(change.Add) == 0 && len(change.Remove) == 0 {
				continue
			}
			select {
			case <-ctx.Done():
				for _, added := range change.Add {
					added.Close()
				}
				return
			case out <- change:
			}
		}
	}()
	return out
}

// change compares the sources of a watch with those that a new state gives it. now are those that the watch
// has after the change; missing says that one could not be added yet.
func (wr *watchRequest) change(ctx context.Context, state *feed.State, sources []string) (change stream.Change, now []string, missing bool) {
	for _, source := range sources {
		if state.Snapshot.Unavailable[source] {
			return stream.Change{Expire: true}, sources, false
		}
	}
	wanted := sourcesOf(route.Decide(wr.info, state.Snapshot))
	if len(wanted) == 0 {
		return change, sources, false // a refusal for the moment, of what moves
	}
	for _, source := range sources {
		switch {
		case slices.Contains(wanted, source):
			now = append(now, source)
		default:
			until, err := wr.newest(ctx, state, source)
			if err != nil {
				return stream.Change{Expire: true}, sources, false
			}
			if change.Remove == nil {
				change.Remove = map[string]int64{}
			}
			change.Remove[source] = until
		}
	}
	for _, source := range wanted {
		if slices.Contains(now, source) {
			continue
		}
		added, err := wr.join(ctx, state, source)
		if err != nil {
			missing = true
			continue
		}
		now = append(now, source)
		change.Add = append(change.Add, added)
	}
	return change, now, missing
}

// newest is where a cell that leaves stands now. Whatever counted in it was written before.
func (wr *watchRequest) newest(ctx context.Context, state *feed.State, source string) (int64, error) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	list, err := plane.Metadata().Resource(resourceOf(wr.info)).Namespace(wr.info.Namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("ask %s where it stands: %w", source, err)
	}
	return version.ParseRaw(list.ResourceVersion)
}

// settled says whether a ring that moved objects has ended that.
func settled(before, now v1alpha1.RingPhase) bool {
	return before != now && now == v1alpha1.RingStable
}

// join opens the watch of a cell that joined, with what is there: whatever was made in it since it could be used
// is new to the client.
func (wr *watchRequest) join(ctx context.Context, state *feed.State, source string) (stream.Source, error) {
	slot, ok := route.Slot(source, state.Snapshot)
	if !ok {
		return stream.Source{}, errNoSlot
	}
	query := wr.upstreamQuery()
	query.Del("resourceVersion")
	query.Set("sendInitialEvents", "true")
	query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	// The answer may take no longer than firstAnswer, its body as long as it will.
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(firstAnswer, cancel)
	answer, failure := wr.ask(ctx, source, query)
	if !late.Stop() || failure != nil {
		cancel()
		if answer != nil {
			_ = answer.Body.Close()
		}
		return stream.Source{}, fmt.Errorf("open watch of %s: %w", source, errNotJoined)
	}
	added := wr.streamSource(source, slot, 0)
	// Not marked: the events of the others need not wait for its initial ones to compare names.
	added.First = &joined{answer.Body, cancel}
	return added, nil
}

// joined is the body of a watch that ends its context with it.
type joined struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (j *joined) Close() error {
	err := j.ReadCloser.Close()
	j.cancel()
	return err
}

func sourcesOf(to route.Route) []string {
	if to.Action == route.Forward {
		return []string{to.Source}
	}
	return to.Sources
}
