package router

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// past is a watch's stream.Past. The cells are asked with the router's own rights: nothing of what they say is shown.
type past struct {
	wr *watchRequest
	// ctx is the watch's. began is when the client's position was that of all cells, or later.
	ctx   context.Context
	began time.Time
	// until are positions of cells after began, as far as they are known. They are the stream's goroutine's.
	until map[string]int64
}

func (wr *watchRequest) past(ctx context.Context) stream.Past {
	return &past{wr: wr, ctx: ctx, began: time.Now(), until: map[string]int64{}}
}

// Behind compares with a sample of the cell that was taken since: there is one within a second, as long as it answers.
func (p *past) Behind(source string, at int64) bool {
	state := p.wr.h.state()
	if phase := state.Snapshot.Phase; phase == v1alpha1.RingStable || phase == "" {
		return false
	}
	if p.wr.info.Resource == "events" {
		return true // they may be in an etcd of their own
	}
	until, known := p.until[source]
	if !known {
		plane, err := state.ControlPlane(source)
		if err != nil {
			return true
		}
		sample, sampled := plane.LastSample()
		if !sampled || !sample.Started.After(p.began) {
			return true
		}
		until = sample.Raw
		p.until[source] = until
	}
	return at <= until
}

// Before asks the source first: of what is there still nothing has to be asked elsewhere, where a cell may be away.
func (p *past) Before(source string, object wire.Meta) (rank int64, gone bool, err error) {
	ctx, cancel := context.WithTimeout(p.ctx, lookTimeout)
	defer cancel()
	state := p.wr.h.state()
	info := *p.wr.info
	info.Name, info.Namespace = object.Name, namespaceOf(p.wr.info, object)
	now, err := metadataIn(ctx, state, &info, source)
	if err != nil {
		return 0, false, err
	}
	if now != nil && seenOf(metaOf(now)) == shown && metaOf(now).PlacementEpoch == object.PlacementEpoch {
		return 0, false, nil
	}
	return p.elsewhere(ctx, state, source, object)
}

// elsewhere looks for an object in the other cells, as they were when the watch began.
func (p *past) elsewhere(ctx context.Context, state *feed.State, source string, object wire.Meta) (rank int64, gone bool, err error) {
	var mu sync.Mutex // guards what is returned
	var asked sync.WaitGroup
	gone = true
	for _, other := range p.wr.sources {
		at := p.at(state, other)
		if other == source || at == 0 || !mayHave(p.wr.info, object, other, state.Snapshot) {
			continue
		}
		asked.Go(func() {
			there, failed := p.wr.named(ctx, state, other, object, at)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed != nil:
				err = fmt.Errorf("look for what has moved to %s: %w", other, failed)
			case there != nil && statusOf(there) != v1alpha1.Migrated:
				gone = false
				if verdict := judge(p.wr.info, metaOf(there), other, state.Snapshot); verdict.Kind == merge.Contends {
					rank = max(rank, verdict.Rank)
				}
			}
		})
	}
	asked.Wait()
	return rank, gone, err
}

// Lost looks where the object is now, and whether the client had it from the source.
func (p *past) Lost(source string, object wire.Meta, told bool) (bool, error) {
	vanished, err := p.wr.vanished(p.ctx, object)
	if err != nil || !vanished || told {
		return vanished, err
	}
	state := p.wr.h.state()
	at := p.at(state, source)
	if at == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, lookTimeout)
	defer cancel()
	had, err := p.wr.named(ctx, state, source, object, at)
	return had != nil && seenOf(metaOf(had)) == shown, err
}

// at is where the watch of a source began, 0 where it began with what exists.
func (p *past) at(state *feed.State, source string) int64 {
	slot, ok := route.Slot(source, state.Snapshot)
	if !ok {
		return 0
	}
	return p.wr.start.position.Raw(slot)
}

// named returns an object of one cell as it was at a position, 0 for now; nil where there was none under the watch's
// selectors.
func (wr *watchRequest) named(ctx context.Context, state *feed.State, source string, object wire.Meta, at int64) (*metav1.PartialObjectMetadata, error) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return nil, err
	}
	options := metav1.ListOptions{LabelSelector: wr.options.LabelSelector, FieldSelector: "metadata.name=" + object.Name}
	if given := wr.options.FieldSelector; given != "" {
		options.FieldSelector = strings.Join([]string{options.FieldSelector, given}, ",")
	}
	if at > 0 {
		options.ResourceVersion, options.ResourceVersionMatch = strconv.FormatInt(at, 10), metav1.ResourceVersionMatchExact
	}
	list, err := plane.Metadata().Resource(resourceOf(wr.info)).Namespace(namespaceOf(wr.info, object)).List(ctx, options)
	if err != nil || len(list.Items) == 0 {
		return nil, err
	}
	return &list.Items[0], nil
}

// metaOf is what lists and watches know of an object.
func metaOf(o *metav1.PartialObjectMetadata) wire.Meta {
	return wire.Meta{
		Namespace: o.Namespace, Name: o.Name, UID: string(o.UID), ResourceVersion: o.ResourceVersion,
		PlacementEpoch: o.Annotations[v1alpha1.AnnotationPlacementEpoch], RebalanceStatus: o.Labels[v1alpha1.LabelRebalanceStatus],
		Deleting: o.DeletionTimestamp != nil,
	}
}
