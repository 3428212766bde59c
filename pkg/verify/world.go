package verify

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// world is what the router control plane says, by which objects are judged. It does not change.
type world struct {
	ring *v1alpha1.Ring
	snap *routing.Snapshot
	// readable are the cells that were read.
	readable map[string]bool
	// grace is how long tombstones of a run stay. moving says that a run has not ended.
	grace  func(run string) time.Duration
	moving bool
	backup backupState
	now    time.Time
}

// backupState is what is known of the backup.
type backupState struct {
	// on says that a daemon has ever worked, working that one does.
	on, working bool
	// settled is, by cell, the newest epoch for which all its envelopes were complete.
	settled map[string]int64
	// refused are the objects that the backup says it cannot protect, by name and UID.
	refused map[refusal]mirror.Unprotected
	// unreadable are the config maps of which this cannot be read.
	unreadable []string
}

type refusal struct {
	ref
	uid string
}

// atRest says whether no object is on its way anywhere.
func (w *world) atRest() bool {
	s := &w.ring.Status
	return s.Phase == v1alpha1.RingStable && s.Failover == "" && len(s.Promoting) == 0 && !w.moving
}

// catchingUp says whether a daemon is at work for a ring that is newer than what the envelopes of a cell were complete for.
func (w *world) catchingUp(cell string) bool {
	return w.backup.working && w.backup.settled[cell] < w.snap.Epoch
}

// readBy is the same world where some of its cells were lost since: what depends on them is not judged any more, while what was
// not found in one that is not asked would count as gone.
func (w *world) readBy(cells map[string]*cell) *world {
	out := *w
	out.readable = map[string]bool{}
	for name := range w.readable {
		out.readable[name] = cells[name] != nil
	}
	return &out
}

// observe reads all of it. The Ring comes last: what it says of runs is no older.
func (v *verifier) observe(ctx context.Context) (*world, error) {
	w := &world{}
	runs, err := v.client.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list rebalances: %w", err)
	}
	if err := v.observeBackup(ctx, &w.backup); err != nil {
		return nil, err
	}
	if w.ring, err = v.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{}); err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	for i := range runs.Items {
		w.moving = w.moving || !runs.Items[i].Status.Phase.Final()
	}
	w.now = v.time()
	w.grace = rebalance.Graces(w.ring, runs)
	if w.snap, err = routing.FromRing(w.ring); err != nil {
		return nil, err
	}
	w.readable = v.readable()
	return w, nil
}

// time is that of the RCP, where its answers tell it: by a clock of this machine that is ahead the grace of tombstones would
// have ended, and a repair would remove them.
func (v *verifier) time() time.Time {
	if now := v.clock.Now(); !now.RCP.IsZero() {
		return now.RCP
	}
	return v.now()
}

func (v *verifier) observeBackup(ctx context.Context, b *backupState) error {
	held, err := v.kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, backup.LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	b.on, b.working = true, lease.RenewalOf(held).Alive(v.clock.Now())
	list, err := v.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks})
	if err != nil {
		return fmt.Errorf("read marks of the backup: %w", err)
	}
	b.settled, b.refused = map[string]int64{}, map[refusal]mirror.Unprotected{}
	for i := range list.Items {
		marks, unprotected, err := backup.ReadMarks(&list.Items[i])
		if err != nil {
			b.unreadable = append(b.unreadable, list.Items[i].Name)
			continue // the daemon writes them again
		}
		b.settled[marks.Cell] = marks.Epoch
		for _, u := range unprotected {
			at := ref{namespace: u.Namespace, name: u.Name}
			at.resource.Group, at.resource.Resource = u.Group, u.Resource
			b.refused[refusal{at, u.UID}] = u
		}
	}
	return nil
}
