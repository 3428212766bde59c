package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// promoteTimeout is for one envelope. A cell that hangs must not keep the others waiting for ever.
const promoteTimeout = time.Minute

// maxSealed is how many bytes of a cell's envelopes are kept in memory from the list to their turn, so that they need
// not be read one by one.
const maxSealed = 64 << 20

// promoteAll waits until all routers know that the cell has left, makes its envelopes objects again, and ends the run.
func (r *run) promoteAll(ctx context.Context, ring *v1alpha1.Ring) error {
	r.progress.begin(StepRing)
	if err := r.acknowledged(ctx, ring); err != nil {
		return err
	}
	r.progress.done(StepRing, fmt.Sprintf("epoch %d", ring.Status.Epoch))
	r.progress.begin(StepPromote)
	snap, err := routing.FromRing(ring)
	if err != nil {
		return err
	}
	began := time.Now()
	p := &promoter{run: r, snap: snap, sources: ring.Status.Promoting, cells: map[string]*survivor{}}
	for {
		done, err := p.round(ctx)
		if err != nil {
			return err
		}
		if done && !p.doubts(time.Now()) {
			break
		}
		if err := pause.For(ctx, again); err != nil {
			return err
		}
	}
	promoted, kept := p.counts()
	r.logger.Info("promoted", "objects", promoted, "kept", kept, "took", time.Since(began).Round(time.Millisecond))
	r.progress.done(StepPromote, fmt.Sprintf("%d promoted, %d kept", promoted, kept))
	r.progress.condition(v1alpha1.ConditionRecovered, true, "Promoted", "")
	if err := r.progress.publish(ctx); err != nil {
		return err
	}
	r.Driver.step(StepPromote)
	fresh, err := r.c.readRing(ctx)
	if err != nil {
		return passing(err)
	}
	if fresh.Status.Epoch != ring.Status.Epoch {
		return nil // somebody else has gone on
	}
	return r.write(ctx, fresh, StepEnd, func(s *v1alpha1.RingStatus) { end(s, p.sources) })
}

// promoter promotes all envelopes of cells that have left the ring.
type promoter struct {
	*run
	snap    *routing.Snapshot
	sources []string
	// cells by name. Each is used by one goroutine at a time.
	cells map[string]*survivor
	// doubted is when what cells had refused was to be looked at once more; zero where nothing was. final says that nobody doubts
	// any more what they refuse.
	doubted time.Time
	final   bool
	// rooms has one object after the other ask for room in a quota.
	rooms sync.Mutex
}

// survivor is a cell and what has been promoted there.
type survivor struct {
	name string
	cell *promotion.Cell

	mu sync.Mutex
	// The rest is guarded by mu. handled are the envelopes that were promoted, kept those that cannot be, by name.
	total   int
	handled map[string]bool
	kept    map[string]refusal
	failing string
}

// round goes once through all cells at the same time. It is done when nothing is left that could be promoted later.
func (p *promoter) round(ctx context.Context) (done bool, err error) {
	if err := p.look(ctx); err != nil {
		return false, err
	}
	access, err := federation.Cells(ctx, p.c.rcp)
	if err != nil {
		return false, passing(err)
	}
	for _, name := range p.snap.Table.Cells() {
		if p.cells[name] == nil && !p.snap.Unavailable[name] {
			p.cells[name] = &survivor{name: name, handled: map[string]bool{}, kept: map[string]refusal{}}
		}
	}
	p.connect(access)
	beside, stop := context.WithCancel(ctx)
	var showing sync.WaitGroup
	showing.Go(func() {
		for pause.For(beside, again/2) == nil {
			p.show()
		}
	})
	engine := &promotion.Promoter{Cells: p.connected(), Snapshot: p.snap, Final: p.final}
	engine.Room = func(ctx context.Context, cell, namespace string, refusal error) bool {
		return p.room(ctx, engine.Snapshot, cell, namespace, refusal)
	}
	left := make([]bool, len(p.cells))
	var working sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(p.cells)) {
		working.Go(func() { left[i] = !p.cell(ctx, engine, p.cells[name]) })
	}
	working.Wait()
	stop()
	showing.Wait()
	p.show()
	return !slices.Contains(left, true), context.Cause(ctx)
}

// connect asks cells that are not connected yet what they serve.
func (p *promoter) connect(access map[string]federation.Access) {
	var asking sync.WaitGroup
	for _, s := range p.cells {
		if s.cell != nil {
			continue
		}
		asking.Go(func() {
			config, err := configOf(access, s.name)
			if err == nil {
				s.cell, err = promotion.Connect(s.name, wrapped(fence.AsMover(config), s.name, p.WrapCell))
			}
			s.fail(err)
		})
	}
	asking.Wait()
}

func (p *promoter) connected() map[string]*promotion.Cell {
	out := map[string]*promotion.Cell{}
	for name, s := range p.cells {
		if s.cell != nil {
			out[name] = s.cell
		}
	}
	return out
}

func (s *survivor) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing = ""; err != nil {
		s.failing = err.Error()
	}
}

// sealed is an envelope that waits. secret is nil where it has to be read again.
type sealed struct {
	Copy
	secret *corev1.Secret
}

// cell promotes what one cell has, the most recently changed first. It is false where something has to be tried again.
func (p *promoter) cell(ctx context.Context, engine *promotion.Promoter, s *survivor) bool {
	if s.cell == nil {
		return false
	}
	if p.snap.Withheld[s.name] {
		s.fail(p.release(ctx, s.name))
		return false // the next round knows the ring in which it is not withheld
	}
	work, err := p.waiting(ctx, s)
	if err != nil {
		s.fail(err)
		s.cell = nil // it is connected anew: its credentials may be others by then
		return false
	}
	var next sync.Mutex // guards i and clean
	i, clean := 0, true
	var workers sync.WaitGroup
	for range max(1, p.Parallel/max(1, len(p.cells))) {
		workers.Go(func() {
			for ctx.Err() == nil {
				next.Lock()
				if i == len(work) {
					next.Unlock()
					return
				}
				c := work[i]
				i++
				next.Unlock()
				if !p.one(ctx, engine, s, c) {
					next.Lock()
					clean = false
					next.Unlock()
				}
			}
		})
	}
	workers.Wait()
	if !clean {
		s.cell = nil
	}
	return clean && ctx.Err() == nil
}

// waiting are the envelopes in a cell that are to be promoted there and were not looked at yet.
func (p *promoter) waiting(ctx context.Context, s *survivor) ([]sealed, error) {
	var work []sealed
	held := 0
	for _, source := range p.sources {
		err := s.cell.EachFrom(ctx, source, func(secret *corev1.Secret) {
			header, err := envelope.HeaderOf(secret)
			c := sealed{Copy: Copy{Secret: secret.Name, UID: secret.UID, Header: header, Corrupt: err}}
			if size := secret.Size(); held+size <= maxSealed {
				held += size
				c.secret = secret
			}
			work = append(work, c)
		})
		if err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	work = slices.DeleteFunc(work, func(c sealed) bool {
		if c.Corrupt != nil {
			s.kept[c.Secret] = refusal{FailoverKept: v1alpha1.FailoverKept{
				Object: Key("", "secrets", v1alpha1.Namespace, c.Secret), Cell: s.name,
				Reason: string(promotion.Corrupt), Message: c.Corrupt.Error(),
			}}
			return true
		}
		_, kept := s.kept[c.Secret]
		return kept || !usable(p.snap, s.name, &c.Copy)
	})
	slices.SortFunc(work, func(a, b sealed) int { return b.Header.Written.Compare(a.Header.Written) })
	s.total, s.failing = len(s.handled)+len(s.kept)+len(work), ""
	return work, nil
}

// room has a cell's part of a quota grow for an object of the lost cell, whose own part nobody uses any more. It is true where
// the object can be tried again.
func (p *promoter) room(ctx context.Context, snap *routing.Snapshot, cell, namespace string, refusal error) bool {
	p.rooms.Lock() // at once they would only disturb each other
	defer p.rooms.Unlock()
	err := federation.MakeRoom(ctx, p.c.rcp, snap, cell, namespace, refusal)
	if err != nil {
		p.Logger.Warn("no room in a quota for what is brought back", "cell", cell, "namespace", namespace, "err", err)
	}
	return err == nil
}

// one promotes an envelope. It is false where it has to be tried again.
func (p *promoter) one(ctx context.Context, engine *promotion.Promoter, s *survivor, c sealed) bool {
	bounded, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	var result promotion.Result
	if c.secret != nil {
		result = engine.PromoteSecret(bounded, s.name, c.secret)
	} else {
		result = engine.Promote(bounded, s.name, c.Secret)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case result.Done():
		s.handled[c.Secret] = true
		return true
	case result.Retryable():
		s.failing = result.String()
		return false
	}
	h := &c.Header
	s.kept[c.Secret] = refusal{
		FailoverKept: v1alpha1.FailoverKept{
			Object: Key(h.Group, h.Resource, h.Namespace, h.Name), Cell: s.name, Reason: string(result.Outcome), Message: result.Message,
		},
		doubtful: result.Doubtful(), lacks: result.Lacks(), yields: result.Yields(),
	}
	return true
}

func (p *promoter) counts() (promoted, kept int) {
	for _, s := range p.cells {
		s.mu.Lock()
		promoted, kept = promoted+len(s.handled), kept+len(s.kept)
		s.mu.Unlock()
	}
	return promoted, kept
}

// show writes what was done so far into the status.
func (p *promoter) show() {
	var cells []v1alpha1.FailoverCell
	var kept []v1alpha1.FailoverKept
	var failing []string
	for _, name := range slices.Sorted(maps.Keys(p.cells)) {
		s := p.cells[name]
		s.mu.Lock()
		cells = append(cells, v1alpha1.FailoverCell{Cell: name, Total: int64(s.total), Promoted: int64(len(s.handled)), Failing: s.failing})
		for _, refused := range s.kept {
			kept = append(kept, refused.FailoverKept)
		}
		if s.failing != "" {
			failing = append(failing, fmt.Sprintf("cell %s: %s", name, s.failing))
		}
		s.mu.Unlock()
	}
	slices.SortFunc(kept, func(a, b v1alpha1.FailoverKept) int { return strings.Compare(a.Object+a.Cell, b.Object+b.Cell) })
	p.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.Cells, s.KeptObjects, s.Kept = cells, int64(len(kept)), kept[:min(len(kept), maxKept)]
	})
	if len(failing) > 0 {
		p.progress.condition(v1alpha1.ConditionCellsUsable, false, "CellUnusable", strings.Join(failing, "; "))
		return
	}
	p.progress.condition(v1alpha1.ConditionCellsUsable, true, "Usable", "")
}

// drop deletes copies of objects whose deletion was acknowledged, in the version that was seen.
func (r *run) drop(ctx context.Context, copies map[string][]Copy) error {
	if len(copies) == 0 {
		return nil
	}
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return passing(err)
	}
	for cell, all := range copies {
		config, err := configOf(access, cell)
		if err != nil {
			return err
		}
		if err := dropIn(ctx, wrapped(fence.AsMover(config), cell, r.WrapCell), all); err != nil {
			return fmt.Errorf("cell %s: %w", cell, err)
		}
	}
	return nil
}

func dropIn(ctx context.Context, config *rest.Config, copies []Copy) error {
	secrets, err := secretsIn(config)
	if err != nil {
		return err
	}
	for _, copied := range copies {
		if err := dropOne(ctx, secrets, copied); err != nil {
			return fmt.Errorf("delete the copy of %s: %w", &copied.Header, err)
		}
	}
	return nil
}

// dropOne deletes a copy, whatever its version by now, unless it is one of another object: of one that was made anew.
func dropOne(ctx context.Context, secrets typedcorev1.SecretInterface, copied Copy) error {
	for {
		err := secrets.Delete(ctx, copied.Secret, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{
			UID: &copied.UID, ResourceVersion: &copied.Version,
		}})
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		secret, err := secrets.Get(ctx, copied.Secret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		header, err := envelope.HeaderOf(secret)
		if err != nil || header.UID != copied.Header.UID {
			return nil //nolint:nilerr // what is no copy of the object brings none back
		}
		copied.UID, copied.Version = secret.UID, secret.ResourceVersion
	}
}
