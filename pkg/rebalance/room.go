package rebalance

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// room has a cell's part of a quota grow for a copy that it has refused: what moves is in two cells for a while, and
// that must not depend on how much of the quota is left. It is true where the copy can be tried again.
func (r *run) room(ctx context.Context, cell, namespace string, refusal error) bool {
	refused, ok := quota.ParseRefusal([]byte(refusal.Error()))
	if !ok {
		return false
	}
	r.rooms.Lock() // at once they would only disturb each other
	defer r.rooms.Unlock()
	if err := r.makeRoom(ctx, cell, namespace, refused); err != nil {
		r.Driver.Logger.Warn("no room in a quota for what moves", "cell", cell, "namespace", namespace, "quota", refused.Quota, "err", err)
		return false
	}
	return true
}

func (r *run) makeRoom(ctx context.Context, cell, namespace string, refused quota.Refusal) error {
	snap, err := routing.FromRing(r.known())
	if err != nil {
		return err
	}
	access, err := federation.Cells(ctx, r.fleet.rcp)
	if err != nil {
		return err
	}
	rcp, err := dynamic.NewForConfig(lease.Guarded(r.fleet.rcp))
	if err != nil {
		return fmt.Errorf("build client of the RCP: %w", err)
	}
	q := replication.Quotas{RCP: rcp, Snapshot: snap, Client: func(name string) (dynamic.Interface, error) {
		a, ok := access[name]
		if !ok {
			return nil, fmt.Errorf("there is no Cell %s any more", name)
		}
		if a.Err != nil {
			return nil, a.Err
		}
		config := rest.CopyConfig(a.Config)
		config.QPS, config.Burst = -1, -1
		return dynamic.NewForConfig(config)
	}}
	o := replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: namespace, Name: refused.Quota}
	_, err = q.Settle(ctx, o, &quota.Need{Cell: cell, Requested: refused.Requested, Moving: true})
	return err
}
