package failover

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// knock is how often a cell that was failed over is asked whether it answers.
const knock = 500 * time.Millisecond

// Guard freezes cells that were failed over as soon as they answer. It is what a backup daemon does.
//
// Triggers: time. Reads: the Ring, Cells and their Secrets. Writes: the freeze, in the cell; the condition Frozen.
// Why it may run twice: a freeze may be written any number of times.
// After a crash: the next one asks again; a freeze stays through restarts of its cell.
type Guard struct {
	RCP    *rest.Config
	Logger *slog.Logger

	// silent are the cells that have not answered since this guard looked last. Such a one has to be looked at when
	// it does, whatever was known of it before: it may have lost its data.
	silent map[string]bool
}

// Watch guards until ctx ends.
func (g *Guard) Watch(ctx context.Context) error {
	c, err := connect(g.RCP)
	if err != nil {
		return err
	}
	g.silent = map[string]bool{}
	for {
		if err := g.look(ctx, c); err != nil && ctx.Err() == nil {
			g.Logger.Warn("cannot look after cells that were failed over, trying again", "err", err)
		}
		if pause(ctx, knock) != nil {
			return nil
		}
	}
}

func (g *Guard) look(ctx context.Context, c *connection) error {
	ring, err := c.readRing(ctx)
	if err != nil {
		return err
	}
	out := ring.Status.Unavailable
	if len(out) == 0 {
		clear(g.silent)
		return nil
	}
	access, err := federation.Cells(ctx, c.rcp)
	if err != nil {
		return err
	}
	for _, cell := range out {
		a, exists := access[cell]
		if !exists || a.Err != nil || contains(cellsOf(&ring.Status), cell) {
			continue // its run is about to freeze it
		}
		if err := g.freeze(ctx, c, cell, &a); err != nil {
			return err
		}
	}
	return nil
}

func (g *Guard) freeze(ctx context.Context, c *connection, cell string, a *federation.Access) error {
	if !g.silent[cell] && meta.IsStatusConditionTrue(a.Cell.Status.Conditions, v1alpha1.ConditionFrozen) {
		quick := rest.CopyConfig(a.Config)
		quick.Timeout = askTimeout
		_, err := federation.Probe(ctx, quick)
		g.silent[cell] = err != nil
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	state := Freeze(bounded, a.Config)
	g.silent[cell] = state.Reason == v1alpha1.ReasonFreezeUnreachable
	if state.InForce() {
		g.Logger.Info("froze a cell that was failed over and answers again", "cell", cell)
	}
	if g.silent[cell] {
		state.Message = "it has not answered since it was failed over" // not an address and a port that change
	}
	return sayFrozen(ctx, c.client, cell, state)
}
