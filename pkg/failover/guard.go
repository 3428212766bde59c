package failover

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// knock is how often a cell that was failed over is asked whether it answers.
const knock = 500 * time.Millisecond

// Guard freezes cells that were failed over as soon as they answer, and thaws those of which the failover was taken back
// while they did not. It is what a backup daemon does.
//
// Triggers: time. Reads: the Ring, Cells and their Secrets. Writes: the freeze, in the cell; the condition Frozen.
// Why it may run twice: a freeze may be written, and taken off, any number of times.
// After a crash: the next one asks again; a freeze stays through restarts of its cell.
type Guard struct {
	RCP    *rest.Config
	Logger *slog.Logger

	c  *connection
	mu sync.Mutex
	// silent are the cells that have not answered since this guard looked last. Such a one has to be looked at when
	// it does, whatever was known of it before: it may have lost its data. Guarded by mu.
	silent map[string]bool
	// busy are the cells that are being looked at: one that hangs keeps no other waiting. Guarded by mu.
	busy map[string]bool
	// looking are the goroutines that do so; each ends with the context of Watch.
	looking sync.WaitGroup
}

// Watch guards until ctx ends.
func (g *Guard) Watch(ctx context.Context) error {
	var err error
	if g.c, err = connect(g.RCP); err != nil {
		return err
	}
	g.silent, g.busy = map[string]bool{}, map[string]bool{}
	defer g.looking.Wait()
	for {
		g.complain(ctx, g.look(ctx))
		if pause.For(ctx, knock) != nil {
			return nil
		}
	}
}

func (g *Guard) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		g.Logger.Warn("cannot look after cells that were failed over, trying again", "err", err)
	}
}

func (g *Guard) look(ctx context.Context) error {
	// A freeze of which the Cells tell was written after its fence: the Ring has to be read later than they.
	cells, err := g.c.client.Cells().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list cells: %w", err)
	}
	ring, err := g.c.readRing(ctx)
	if err != nil {
		return err
	}
	todo := g.todo(cells.Items, &ring.Status)
	if len(todo) == 0 {
		return nil
	}
	access, err := federation.Cells(ctx, g.c.rcp)
	if err != nil {
		return err
	}
	for cell, do := range todo {
		if a, exists := access[cell]; exists && a.Err == nil {
			g.beside(ctx, cell, func() error { return do(ctx, cell, &a) })
		}
	}
	return nil
}

// todo is what there is to do, by cell.
func (g *Guard) todo(cells []v1alpha1.Cell, s *v1alpha1.RingStatus) map[string]func(context.Context, string, *federation.Access) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	todo := map[string]func(context.Context, string, *federation.Access) error{}
	for i := range cells {
		cell := cells[i].Name
		out, member := contains(s.Unavailable, cell), contains(cellsOf(s), cell)
		switch {
		case out && !member: // while it is one, its run is about to freeze it
			todo[cell] = g.freeze
		case !out && (member && maybeFrozen(&cells[i]) || frozenTooLate(&cells[i])):
			todo[cell] = g.thaw
		case !out:
			delete(g.silent, cell)
		}
	}
	return todo
}

// beside does something to a cell, unless the last thing that was begun there has not ended.
func (g *Guard) beside(ctx context.Context, cell string, do func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy[cell] {
		return
	}
	g.busy[cell] = true
	g.looking.Go(func() {
		g.complain(ctx, do())
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.busy, cell)
	})
}

func (g *Guard) isSilent(cell string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.silent[cell]
}

func (g *Guard) setSilent(cell string, silent bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent[cell] = silent
}

func (g *Guard) freeze(ctx context.Context, cell string, a *federation.Access) error {
	if !g.isSilent(cell) && meta.IsStatusConditionTrue(a.Cell.Status.Conditions, v1alpha1.ConditionFrozen) {
		_, err := federation.Probe(ctx, within(a.Config, askTimeout))
		g.setSilent(cell, err != nil)
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	state := Freeze(bounded, a.Config, a.Endpoints...)
	ring, err := g.c.readRing(ctx)
	if err != nil {
		return err
	}
	if !contains(ring.Status.Unavailable, cell) {
		return g.tooLate(ctx, cell, a)
	}
	silent := state.Reason == v1alpha1.ReasonFreezeUnreachable
	g.setSilent(cell, silent)
	if state.InForce() {
		g.Logger.Info("froze a cell that was failed over and answers again", "cell", cell)
	}
	if silent {
		state.Message = "it has not answered since it was failed over" // not an address and a port that change
	}
	return sayFrozen(ctx, g.c.client, cell, state)
}

// tooLate takes a freeze back: the cell has come back meanwhile, and whoever saw to that has thawed it before. Where this fails it
// is tried again, since the Cell says that it may be frozen.
func (g *Guard) tooLate(ctx context.Context, cell string, a *federation.Access) error {
	err := sayFrozen(ctx, g.c.client, cell, Frozen{Reason: v1alpha1.ReasonFreezeFailed, Message: "it came back while it was being frozen"})
	if err != nil {
		return err
	}
	return g.thaw(ctx, cell, a)
}

// thaw lets a cell be written to again. Should it have been fenced off meanwhile, nobody knows which came
// first: it is frozen anew once it has left the ring.
func (g *Guard) thaw(ctx context.Context, cell string, a *federation.Access) error {
	bounded, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	if Thaw(bounded, a.Config, a.Endpoints...) != nil {
		return nil //nolint:nilerr // it does not answer yet
	}
	ring, err := g.c.readRing(ctx)
	if err != nil {
		return err
	}
	if contains(ring.Status.Unavailable, cell) {
		g.setSilent(cell, true)
		return nil
	}
	g.Logger.Info("thawed a cell that was not failed over", "cell", cell)
	return sayFrozen(ctx, g.c.client, cell, Frozen{Reason: v1alpha1.ReasonThawed, Message: "it is not failed over"})
}
