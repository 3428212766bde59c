package robustness

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

const (
	// lookEvery is how often a lister lists up to manyKeys; more of them are listed as much rarer.
	lookEvery = 3 * time.Second
	manyKeys  = 500
	// page makes every second list come in pages.
	page = 50
	// pollEvery is how often all cells are read for two owners of one key.
	pollEvery = time.Second
	// lister is the number of the client that lists, above those of all others.
	lister = 1000
)

// keepListing makes every list a read of each object, and none of those that it does not show.
func (t *traffic) keepListing(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		for _, via := range t.through {
			for _, kind := range kinds() {
				t.list(ctx, via, kind, int64(n%2*page))
			}
		}
		sleep(ctx, lookEvery*time.Duration(max(1, len(t.keys)/manyKeys)))
	}
}

// list records what a list shows, and returns it, by key. It is nil where there was no answer.
func (t *traffic) list(ctx context.Context, via access, kind schema.GroupVersionResource, limit int64) map[string]history.State {
	call := t.record.Now()
	items, err := readAll(ctx, via.client, kind, limit)
	end := t.record.Now()
	if err != nil {
		return nil
	}
	shown := map[string]history.State{}
	for i := range items {
		key := keyOf(kind, items[i].GetName())
		if _, twice := shown[key]; twice {
			t.strange("a list via %s has %s twice", via.name, key)
		}
		if items[i].GetAnnotations()[born] != "" {
			shown[key] = stateOf(key, &items[i])
		}
	}
	var ops []history.Op
	for _, key := range t.keys {
		if kindOf(key) != kind {
			continue
		}
		op := history.Op{Client: lister, Via: via.name, Key: key, Verb: history.Get, Call: call, Return: end, Outcome: history.Absent, Detail: "in a list"}
		if state, ok := shown[key]; ok {
			op.Outcome, op.Seen = history.OK, state
		}
		ops = append(ops, op)
	}
	t.record.Add(ops...)
	return shown
}

func readAll(ctx context.Context, c dynamic.Interface, kind schema.GroupVersionResource, limit int64) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	options := metav1.ListOptions{Limit: limit}
	for {
		list, err := c.Resource(kind).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		out = append(out, list.Items...)
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return out, nil
		}
	}
}

// keepPolling reads all cells, twice in a round.
func (b *bed) keepPolling(ctx context.Context) {
	for ctx.Err() == nil {
		var round history.Round
		for range 2 {
			for _, cell := range b.allCells() {
				if read, err := readCell(ctx, cell); err == nil {
					round = append(round, read)
				}
			}
		}
		b.record.AddRound(round)
		sleep(ctx, pollEvery)
	}
}

// readCell reads all objects of the proof in one cell.
func readCell(ctx context.Context, cell access) (history.Read, error) {
	read := history.Read{Cell: cell.name, Copies: map[string]history.Copy{}}
	for _, kind := range kinds() {
		items, err := readAll(ctx, cell.client, kind, 0)
		if err != nil {
			return read, err
		}
		for i := range items {
			if key := keyOf(kind, items[i].GetName()); items[i].GetAnnotations()[born] != "" {
				read.Copies[key] = history.Copy{State: stateOf(key, &items[i]), Status: statusOf(&items[i])}
			}
		}
	}
	return read, nil
}

// keepBurying deletes tombstones whose grace is over, as a backup daemon does.
func (b *bed) keepBurying(ctx context.Context) {
	for ctx.Err() == nil {
		// A cell or the fence may be away; the next time will do.
		_, _ = rebalance.Bury(ctx, b.rcp, clock.RealClock{})
		sleep(ctx, pollEvery)
	}
}
