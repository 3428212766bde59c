package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// errYield ends the work on a run for the benefit of its successor.
var errYield = errors.New("another failover comes first")

// mayFollow says whether the failover of another cell may be ordered before a run has ended: while copies are promoted, a
// cell that has some of them may die as well, and would be waited for in vain.
//
// The first run gives up the Lease until the other one has ended. That takes the second cell out of the ring and promotes
// the copies of both; if it is refused, the first one goes on.
func mayFollow(s *v1alpha1.RingStatus, run *v1alpha1.Failover, next *v1alpha1.FailoverSpec) bool {
	return !next.Drill && !run.Spec.Drill && run.Spec.Cell != next.Cell &&
		stageOf(s, run.Spec.Cell) == left && contains(cellsOf(s), next.Cell)
}

// successor is a run that was ordered while this one was at work, and has not ended; nil for none. Of a drill any failover
// is one.
func (r *run) successor(ctx context.Context) (*v1alpha1.Failover, error) {
	newest, err := Unfinished(ctx, r.c.client)
	if err != nil || newest == nil || newest.Name == r.name || newest.Spec.Drill ||
		!r.spec.Drill && newest.Spec.ConfirmEpoch <= r.spec.ConfirmEpoch {
		return nil, err
	}
	return newest, nil
}

// yield is errYield where there is a successor.
func (r *run) yield(ctx context.Context) error {
	next, err := r.successor(ctx)
	if err != nil {
		return passing(err)
	}
	if next == nil {
		return nil
	}
	r.progress.condition(v1alpha1.ConditionCellsUsable, false, "Yielded", fmt.Sprintf("failover %s of cell %s comes first", next.Name, next.Spec.Cell))
	return errYield
}

// unlessSucceeded works until there is a successor.
func (r *run) unlessSucceeded(ctx context.Context, work func(context.Context) error) error {
	return makingWay(ctx, r.yield, work)
}

// makingWay works until yield says errYield, which it returns then.
func makingWay(ctx context.Context, yield, work func(context.Context) error) error {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := make(chan struct{})
	go func() { // ends with the work
		defer close(watched)
		for pause.For(working, again) == nil {
			if err := yield(working); errors.Is(err, errYield) {
				stop(errYield)
				return
			}
		}
	}()
	err := work(working)
	yielded := errors.Is(context.Cause(working), errYield)
	stop(nil)
	<-watched
	if yielded && err != nil {
		return errYield
	}
	return err
}

// departures finds out what other failovers have done to the cell's objects since the backup of it was complete, which it
// was last for the epoch marked: what the cell took over of them may have no copy, nor what had its own in a cell that left.
// No router remembers these objects.
func (c *connection) departures(ctx context.Context, f *Facts, marked int64) error {
	list, err := c.client.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list failovers: %w", err)
	}
	for i := range list.Items {
		run := &list.Items[i]
		if run.Spec.Direction == v1alpha1.DirectionFailback || run.Spec.Drill || run.Spec.Cell == f.Cell || !hasLeft(&f.Ring.Status, run, marked) {
			continue
		}
		f.Left = true
		took := taken(run, f.Cell)
		f.TakenOver += took
		if !f.counted(run) {
			f.Uncounted += took
		}
	}
	return nil
}

// hasLeft says whether the cell of a run has left the ring, after an epoch.
func hasLeft(s *v1alpha1.RingStatus, run *v1alpha1.Failover, epoch int64) bool {
	if run.Status.Phase.Final() {
		return run.Status.Phase == v1alpha1.FailoverSucceeded && run.Status.ToEpoch > epoch
	}
	at := stageOf(s, run.Spec.Cell)
	return at == left || at == over
}

// taken is how many objects a cell takes over by a run: as many as were found there to promote, or, where nobody could look
// yet, as many as the report says.
func taken(run *v1alpha1.Failover, cell string) int64 {
	for _, took := range run.Status.Cells {
		if took.Cell == cell && (took.Total > 0 || run.Status.Phase.Final()) {
			return took.Total
		}
	}
	if run.Status.Report == nil {
		return 0
	}
	for _, s := range run.Status.Report.Survivors {
		switch {
		case s.Cell != cell:
		case s.Reachable:
			return s.Takes
		default:
			return run.Status.Report.Unknown
		}
	}
	return 0
}

// silent says whether a cell that may have copies could not be asked.
func (f *Facts) silent() bool {
	return slices.ContainsFunc(f.Survivors, func(s Survivor) bool { return s.Err != nil })
}

// backup is how the backup of the cell stood last, nil where it never said so.
func (f *Facts) backup() *v1alpha1.CellBackup {
	if cell := f.Cells[f.Cell]; cell != nil {
		return cell.Status.Backup
	}
	return nil
}

// counted says whether what the cell took over by a run is in the count of its objects: that was stored later than the end of the
// run, by the clock of the RCP. Where that is not known, the clock of the run's driver is compared with the backup's.
func (f *Facts) counted(run *v1alpha1.Failover) bool {
	b, ended := f.backup(), run.Status.CompletionTime
	if b == nil || ended == nil {
		return false
	}
	count, end := lease.StoredAt(f.Cells[f.Cell].ManagedFields, "backup"), lease.StoredAt(run.ManagedFields, "completionTime")
	if count.IsZero() || end.IsZero() {
		count, end = b.Time.Time, ended.Time
	}
	return count.After(end.Add(handedSlack))
}

// uncounted says that nobody can tell how many objects of the cell there were: the backup of it was never complete, and no
// daemon that knew everything of it has counted them last.
func (f *Facts) uncounted() bool {
	b := f.backup()
	return f.Mark == nil && (b == nil || !b.Complete)
}

// unknown is how many objects of the cell there were that neither a copy nor a router tells of, by the last count. Where the
// backup has had a copy of each once, none has left the ring since, and every cell with copies answers, it is as many as are
// missing of the copies that the backup has counted, if nothing else can have become of these.
func (f *Facts) unknown(told, missing int64) int64 {
	b := f.backup()
	switch {
	case f.Mark != nil && !f.silent() && !f.Left && f.atRest():
		return missing
	case f.Mark != nil && !f.silent() && !f.Left:
		return 0
	case b == nil:
		return f.TakenOver
	}
	return max(0, b.Objects+f.Uncounted-told)
}

// made is how many objects were made after the last count of the cell's.
func (j *join) made() int64 {
	var n int64
	for _, o := range j.objects {
		for _, w := range o.writes {
			if b := j.f.backup(); b != nil && w.Verb == "create" && !w.Gone && w.Time.After(b.Time.Time) {
				n++
			}
		}
	}
	return n
}
