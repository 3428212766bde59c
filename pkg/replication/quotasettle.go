package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// lookTimeout bounds how long a cell is asked for its copy of a quota. One that does not answer keeps its part.
const lookTimeout = 2 * time.Second

// ErrFull is returned by [Quotas.Settle] where what is needed is not left in all cells together.
var ErrFull = errors.New("the quota is used up")

// Quotas divides quotas anew, so that their parts follow what is used.
//
//	copies of all cells, record, source ──▶ quota.Plan ──▶ record ──▶ copies: spec, then status ──┐
//	        ▲                                                                                    │
//	        └────────── again, where a part had to shrink before another one could grow ─────────┘
//
// Any number of them may work on the same quota at once, and be stopped anywhere: package quota says why the parts
// never exceed the whole.
type Quotas struct {
	// RCP is read for sources, and written for the records and for what is used in all.
	RCP dynamic.Interface
	// Client is the way to a cell, with the rights of an administrator of quotas. The error says why there is none.
	Client   func(cell string) (dynamic.Interface, error)
	Snapshot *routing.Snapshot
}

// Settled is what a [Quotas.Settle] has found and done.
type Settled struct {
	// Failures are what went wrong with cells, by name. These keep their part, and nobody gets of it.
	Failures map[string]error
	// Hard and Used are of all cells together, of the limits that are divided. Hard is nil where the quota is gone.
	Hard, Used corev1.ResourceList
	// Complete says that each cell has counted for Used.
	Complete bool
	// Granted is what the cell that needed something enforces now.
	Granted corev1.ResourceList
}

// Settle gives each cell its part of a quota, and one that needs something room for it. need may be nil. Where the
// quota is gone the copies and the record go. The error is ErrFull where there is no room left, or says why nothing
// could be decided; one cell that fails is none.
func (q Quotas) Settle(ctx context.Context, o Object, need *quota.Need) (Settled, error) {
	for range quotaTries {
		looks := q.look(ctx, o)
		read, source, err := readQuota(ctx, q.RCP, o)
		if err != nil {
			return Settled{}, err
		}
		if leaving(source) {
			return Settled{Failures: q.each(looks, func(l *look) error {
				return pushQuota(ctx, q.RCP, l.cell, o, onlyCopies, func(outcome) {})
			})}, nil
		}
		s := &settling{q: q, o: o, source: source, read: read, looks: looks, divided: SharesOf(q.Snapshot).divided(source)}
		out, again, err := s.settle(ctx, need)
		if again {
			continue
		}
		return out, err
	}
	return Settled{}, fmt.Errorf("divide %s: %w", o, errBusy)
}

// look is what was seen in a cell.
type look struct {
	cell   Cell
	copied *unstructured.Unstructured
	// err says why the cell is left as it is.
	err error
}

// look reads the copies of all cells at once.
func (q Quotas) look(ctx context.Context, o Object) []*look {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	shares := SharesOf(q.Snapshot)
	var out []*look
	for _, name := range q.Snapshot.Table.Cells() {
		if q.Snapshot.Unavailable[name] {
			continue
		}
		l := &look{cell: Cell{Name: name, Shares: shares}}
		l.cell.Client, l.err = q.Client(name)
		out = append(out, l)
	}
	failures := q.each(out, func(l *look) (err error) {
		l.copied, err = find(ctx, l.cell.Client, o)
		return err
	})
	for _, l := range out {
		if err := failures[l.cell.Name]; err != nil {
			l.err = fmt.Errorf("read copy of %s: %w", o, err)
		}
	}
	return out
}

// each does something with all cells at once that have not failed yet, and returns all failures.
func (q Quotas) each(looks []*look, do func(*look) error) map[string]error {
	errs := make([]error, len(looks))
	var doing sync.WaitGroup
	for i, l := range looks {
		if errs[i] = l.err; l.err == nil {
			doing.Go(func() { errs[i] = do(l) })
		}
	}
	doing.Wait()
	out := map[string]error{}
	for i, l := range looks {
		if errs[i] != nil {
			out[l.cell.Name] = errs[i]
		}
	}
	return out
}

// settling is one attempt.
type settling struct {
	q       Quotas
	o       Object
	source  *unstructured.Unstructured
	read    stored
	looks   []*look
	divided corev1.ResourceList
}

// settle is one attempt, of which the next one makes use where again is true.
func (s *settling) settle(ctx context.Context, need *quota.Need) (out Settled, again bool, err error) {
	cells, err := s.seen(ctx)
	if err != nil {
		return out, false, err
	}
	record, waits := s.read.record, false
	out.Hard = s.divided
	if len(s.divided) > 0 {
		next := quota.Plan(s.source.GetUID(), s.divided, record, cells, need, time.Now())
		out.Used, out.Complete = quota.Used(s.divided, cells), complete(cells)
		if len(next.Lacking) > 0 {
			err = ErrFull
		}
		waits = next.Waits
		if !next.Record.Equal(record) {
			failed := writeRecord(ctx, s.q.RCP, s.o, s.read, next.Record)
			if apierrors.IsConflict(failed) {
				return out, true, nil
			}
			if failed != nil {
				return out, false, failed
			}
		}
		record = next.Record
	}
	stale, retry := false, false
	var mu sync.Mutex // guards stale, retry and out.Granted
	out.Failures = s.q.each(s.looks, func(l *look) error {
		part := quota.Part{}
		if record != nil {
			part = record.Of(l.cell.Name)
		}
		did, copied, err := l.cell.writeQuota(ctx, s.o, s.source, l.copied, s.divided, part)
		mu.Lock()
		stale = stale || apierrors.IsConflict(err) || errors.Is(err, errNewer)
		retry = retry || did != unchanged
		if need != nil && need.Cell == l.cell.Name && err == nil {
			out.Granted = resourceList(copied, "status", "hard")
		}
		mu.Unlock()
		if err == nil && did == created {
			l.cell.counted(ctx, s.o, countedTimeout)
		}
		return err
	})
	// Where a part waits for one in a cell that does not answer, nothing would be different the next time.
	return out, stale || waits && retry, err
}

// seen is what was read, as quota.Plan wants it, in the order of the cells' names.
func (s *settling) seen(ctx context.Context) ([]quota.Cell, error) {
	slices.SortFunc(s.looks, func(a, b *look) int { return strings.Compare(a.cell.Name, b.cell.Name) })
	hidden := make([]corev1.ResourceList, len(s.looks))
	for i, l := range s.looks {
		hidden[i] = s.selfMade(l.cell.Name)
	}
	failures := s.q.each(s.looks, func(l *look) (err error) {
		return s.moving(ctx, l, hidden[slices.Index(s.looks, l)])
	})
	var out []quota.Cell
	for i, l := range s.looks {
		if l.err == nil {
			l.err = failures[l.cell.Name]
		}
		c := quota.Cell{
			Name: l.cell.Name, Weight: l.cell.Shares.weight(l.cell.Name), Reached: l.err == nil,
			Hidden: hidden[i],
		}
		if generation := generationOf(l.copied, s.source); c.Reached && generation > 0 {
			c.Generation = generation
			c.Enforced, c.Used = resourceList(l.copied, "status", "hard"), resourceList(l.copied, "status", "used")
		}
		out = append(out, c)
	}
	return out, ctx.Err()
}

// Tell writes into the status of the source what all cells use together, where each of them answers. The RCP's own
// quota controller counts what is in the RCP alone, and writes that from time to time.
func (q Quotas) Tell(ctx context.Context, o Object, used corev1.ResourceList) error {
	for range quotaTries {
		source, err := find(ctx, q.RCP, o)
		if err != nil || leaving(source) {
			return err
		}
		shown, hard := resourceList(source, "status", "used"), resourceList(source, "status", "hard")
		differs := corev1.ResourceList{}
		for name, amount := range used {
			_, limited := hard[name]
			if now, ok := shown[name]; limited && (!ok || now.Cmp(amount) != 0) {
				differs[name] = amount
			}
		}
		if len(differs) == 0 {
			return nil
		}
		setAmounts(source, differs, "status", "used")
		_, err = o.in(q.RCP).UpdateStatus(ctx, source, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsConflict(err) {
			continue
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	return fmt.Errorf("write what is used of %s: %w", o, errBusy)
}

// Total is what all cells use of a quota, without dividing it anew; all is false where one does not answer.
func (q Quotas) Total(ctx context.Context, o Object) (used corev1.ResourceList, all bool, err error) {
	looks := q.look(ctx, o)
	source, err := find(ctx, q.RCP, o)
	if err != nil || leaving(source) {
		return nil, false, err
	}
	s := &settling{q: q, o: o, source: source, looks: looks, divided: SharesOf(q.Snapshot).divided(source)}
	cells, err := s.seen(ctx)
	if err != nil {
		return nil, false, err
	}
	return quota.Used(s.divided, cells), complete(cells), nil
}

// complete says whether each cell has counted.
func complete(cells []quota.Cell) bool {
	for _, c := range cells {
		if !c.Reached || len(c.Used) == 0 {
			return false
		}
	}
	return len(cells) > 0
}
