package rebalance

import (
	"context"

	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// room has a cell's part of a quota grow for a copy that it has refused. It is true where the copy can be tried again.
func (r *run) room(ctx context.Context, cell, namespace string, refusal error) bool {
	r.rooms.Lock() // at once they would only disturb each other
	defer r.rooms.Unlock()
	snap, err := routing.FromRing(r.known())
	if err == nil {
		err = federation.MakeRoom(ctx, r.fleet.rcp, snap, cell, namespace, refusal)
	}
	if err != nil {
		r.Driver.Logger.Warn("no room in a quota for what moves", "cell", cell, "namespace", namespace, "err", err)
	}
	return err == nil
}
