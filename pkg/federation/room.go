package federation

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// MakeRoom has a cell's part of a divided quota grow for an object that the cell has refused, though it counts in another one
// as well, or did before that was lost: what moves or is brought back must not depend on how much of the quota is left. After
// nil it can be tried again. refusal is the cell's answer.
func MakeRoom(ctx context.Context, rcp *rest.Config, snap *routing.Snapshot, cell, namespace string, refusal error) error {
	refused, ok := quota.ParseRefusal([]byte(refusal.Error()))
	if !ok {
		return errors.New("it was not refused for want of quota")
	}
	access, err := Cells(ctx, rcp)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(lease.Guarded(rcp))
	if err != nil {
		return fmt.Errorf("build client of the RCP: %w", err)
	}
	q := replication.Quotas{RCP: client, Snapshot: snap, Client: func(name string) (dynamic.Interface, error) {
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
	settled, err := q.Settle(ctx, o, &quota.Need{Cell: cell, Requested: refused.Requested, Moving: true})
	if err != nil {
		return fmt.Errorf("make room in quota %s/%s: %w", namespace, refused.Quota, err)
	}
	if len(settled.Hard) == 0 {
		return fmt.Errorf("quota %s/%s is the cell's own", namespace, refused.Quota)
	}
	return nil
}
