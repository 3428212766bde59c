package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/quota"
)

const (
	// quotaTries bounds how often something is begun again because somebody else has written.
	quotaTries = 20
	// countedTimeout is how long a cell's quota controller is waited for that has to count for a new copy: before, the
	// cell refuses whatever is limited. raisedTimeout is how long where a limit is higher than before.
	countedTimeout = 3 * time.Second
	raisedTimeout  = time.Second
	// countedEvery is how often it is looked at meanwhile.
	countedEvery = 20 * time.Millisecond
)

var errBusy = errors.New("others write it again and again")

// pushQuota is push for a quota. It gives the cell the part that the record has for it, and decides nothing
// anew but the first division; see [Quotas] for that.
//
// The copy is read before the record, and the record before the source, and each is written only over what was
// read: so nothing old is ever put over something newer.
func pushQuota(ctx context.Context, rcp dynamic.Interface, cell Cell, o Object, deletes strays, note func(outcome)) error {
	for range quotaTries {
		copied, err := find(ctx, cell.Client, o)
		if err != nil {
			return fmt.Errorf("read copy of %s: %w", o, err)
		}
		read, source, err := readQuota(ctx, rcp, o)
		if err != nil {
			return err
		}
		if source == nil && copied != nil && copyOf(copied) == "" && deletes == onlyCopies {
			return nil
		}
		if source == nil {
			if err := dropRecord(ctx, rcp, o, read); err != nil {
				return err
			}
		}
		var did outcome
		if leaving(source) {
			did, err = reconcile(ctx, cell, o, source, copied)
		} else {
			did, err = cell.giveQuota(ctx, rcp, o, read, source, copied)
		}
		switch {
		case apierrors.IsConflict(err), errors.Is(err, errNewer):
			continue
		case err != nil:
			return err
		}
		note(did)
		newest, err := find(ctx, rcp, o)
		if err != nil {
			return &sourceError{fmt.Errorf("read source of %s: %w", o, err)}
		}
		if sameQuota(source, newest) {
			return nil
		}
	}
	return fmt.Errorf("copy of %s: %w", o, errBusy)
}

// sameQuota is sameVersion but for the status, in which use is counted.
func sameQuota(before, after *unstructured.Unstructured) bool {
	if leaving(before) || leaving(after) {
		return leaving(before) && leaving(after)
	}
	return before.GetUID() == after.GetUID() && sameContent(before, after)
}

// sameContent compares what a quota's author wrote.
func sameContent(a, b *unstructured.Unstructured) bool {
	return equality.Semantic.DeepEqual(content(a), content(b)) &&
		maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations())
}

// readQuota reads the record and then the source. What may be forgotten of either is nil.
func readQuota(ctx context.Context, rcp dynamic.Interface, o Object) (stored, *unstructured.Unstructured, error) {
	read, err := readRecord(ctx, rcp, o)
	if err != nil {
		return read, nil, &sourceError{fmt.Errorf("read the record of %s: %w", o, err)}
	}
	source, err := find(ctx, rcp, o)
	if err != nil {
		return read, nil, &sourceError{fmt.Errorf("read source of %s: %w", o, err)}
	}
	return read, source, nil
}

// giveQuota gives the cell its part of a quota. Where there is no record of its parts it makes the first one, by
// weight.
func (c Cell) giveQuota(ctx context.Context, rcp dynamic.Interface, o Object, read stored, source, copied *unstructured.Unstructured) (outcome, error) {
	divided := c.Shares.divided(source)
	record := read.record
	if len(divided) > 0 && (record == nil || record.UID != source.GetUID()) {
		var cells []quota.Cell
		for _, m := range c.Shares.current {
			cells = append(cells, quota.Cell{Name: m.Cell, Weight: c.Shares.weight(m.Cell), Reached: true})
		}
		record = quota.Plan(source.GetUID(), divided, nil, cells, nil, time.Now()).Record
		if err := writeRecord(ctx, rcp, o, read, record); err != nil {
			return unchanged, err
		}
	}
	part := quota.Part{}
	if record != nil {
		part = record.Of(c.Name)
	}
	did, _, err := c.writeQuota(ctx, o, source, copied, divided, part)
	return did, err
}

// writeQuota makes the copy state a part, and enforce it. It returns the copy as it is then.
func (c Cell) writeQuota(ctx context.Context, o Object, source, copied *unstructured.Unstructured, divided corev1.ResourceList, part quota.Part) (outcome, *unstructured.Unstructured, error) {
	want := withPart(source, divided, part)
	did := updated
	switch {
	case copied != nil && copied.GetDeletionTimestamp() != nil:
		if err := awaitGone(ctx, c.Client, o, copied); err != nil {
			return unchanged, nil, err
		}
		copied = nil
	case copied != nil && copyOf(copied) != "" && copyOf(copied) != string(source.GetUID()):
		if err := remove(ctx, c.Client, o, copied); err != nil {
			return unchanged, nil, err
		}
		copied = nil
	case len(divided) > 0 && generationOf(copied, source) > part.Generation:
		return unchanged, nil, errNewer
	}
	if copied == nil {
		did = created
		// An apply cannot be kept from writing over what somebody else makes in this moment. One that states
		// nothing at all does no harm there.
		var err error
		if copied, err = c.apply(ctx, o, withPart(source, divided, quota.Part{}), ""); err != nil {
			return unchanged, nil, err
		}
	}
	if Same(want, copied) {
		if did == updated {
			did = unchanged
		}
	} else {
		before := copied.GetResourceVersion()
		var err error
		if copied, err = c.apply(ctx, o, want, before); err != nil {
			return unchanged, nil, err
		}
		if copied.GetResourceVersion() == before && did == updated {
			did = unchanged // it differed in what is the cell's own
		}
	}
	copied, err := c.enforce(ctx, o, copied)
	return did, copied, err
}

// apply writes a copy, only over that version where one is given.
func (c Cell) apply(ctx context.Context, o Object, want *unstructured.Unstructured, over string) (*unstructured.Unstructured, error) {
	out := desired(want)
	out.SetResourceVersion(over)
	applied, err := o.in(c.Client).Apply(ctx, o.Name, out, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	if err != nil {
		return nil, fmt.Errorf("apply copy of %s: %w", o, err)
	}
	return applied, nil
}

// enforce has a cell admit by the limits of a copy, those of its status. A lower limit is written there, over the
// version that was read, so that what is in use is known to the last object. A higher one is left to the cell's
// quota controller, which every change of a limit makes count anew: as long as it counts, what is made in that moment
// may be missed, so nothing may be made by the higher limit before it has. Where it does not come, the limit is written.
func (c Cell) enforce(ctx context.Context, o Object, copied *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	began := time.Now()
	for range quotaTries {
		limits, missing, higher := resourceList(copied, "spec", "hard"), corev1.ResourceList{}, false
		used, enforced := resourceList(copied, "status", "used"), resourceList(copied, "status", "hard")
		for name, limit := range limits {
			_, counted := used[name]
			now, ok := enforced[name]
			switch {
			case !counted || ok && now.Cmp(limit) == 0:
			case ok && now.Cmp(limit) < 0 && time.Since(began) < raisedTimeout:
				higher = true
			default:
				missing[name] = limit
			}
		}
		if len(missing) == 0 && !higher {
			return copied, nil
		}
		if len(missing) == 0 {
			c.counted(ctx, o, raisedTimeout-time.Since(began))
		} else {
			out := copied.DeepCopy()
			setAmounts(out, missing, "status", "hard")
			written, err := o.in(c.Client).UpdateStatus(ctx, out, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
			if err == nil {
				copied = written
				continue
			}
			if !apierrors.IsConflict(err) {
				return nil, fmt.Errorf("enforce copy of %s: %w", o, err)
			}
		}
		again, err := find(ctx, c.Client, o)
		if err != nil {
			return nil, fmt.Errorf("read copy of %s: %w", o, err)
		}
		if again == nil || again.GetUID() != copied.GetUID() || !sameContent(again, copied) {
			return nil, apierrors.NewConflict(o.Resource.GroupResource(), o.Name, errNewer)
		}
		copied = again
	}
	return nil, fmt.Errorf("enforce copy of %s: %w", o, errBusy)
}

// counted waits until a cell's quota controller has counted by the copy, or the time is up: a cell may have none.
func (c Cell) counted(ctx context.Context, o Object, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// Running out of time is no error: what the cell says is right, if unhelpful.
	_ = wait.PollUntilContextCancel(ctx, countedEvery, true, func(ctx context.Context) (bool, error) {
		copied, err := find(ctx, c.Client, o)
		if err != nil || leaving(copied) {
			return true, err
		}
		enforced := resourceList(copied, "status", "hard")
		for name, limit := range resourceList(copied, "spec", "hard") {
			if now, ok := enforced[name]; !ok || now.Cmp(limit) != 0 {
				return false, nil
			}
		}
		return true, nil
	})
}
