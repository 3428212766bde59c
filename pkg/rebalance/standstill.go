package rebalance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// errFailover says that a cell is being taken out of the ring: until that is done nothing moves.
var errFailover = errors.New("a failover runs")

// reasonFailover is that of the condition CellsUsable while the run stands still.
const reasonFailover = "Failover"

// standstill is errFailover while a failover runs. What is promoted must not be moved before it is whole.
func standstill(s *v1alpha1.RingStatus) error {
	switch {
	case s.Failover != "":
		return fmt.Errorf("%w: %s; the rebalance goes on after it", errFailover, s.Failover)
	case len(s.Promoting) > 0:
		return fmt.Errorf("%w: copies of %s are being promoted; the rebalance goes on after it", errFailover, strings.Join(s.Promoting, ", "))
	}
	return nil
}

// watchEpoch ends the pass when the Ring is in another epoch than the units were searched for, which units that wait for
// a dead cell would never notice. It returns when ctx ends.
func (p *pass) watchEpoch(ctx context.Context, epoch int64) {
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ring, err := p.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
		if err != nil || ring.Status.Epoch == epoch {
			continue // an RCP that does not answer changes nothing
		}
		p.superseded.Store(true)
		select {
		case p.changed <- struct{}{}:
		case <-ctx.Done():
		}
		return
	}
}

// moves takes back that the run stands still for a failover.
func (t *tracker) moves() { t.recovered(reasonFailover) }

// answered takes back that a request failed.
func (t *tracker) answered() { t.recovered(reasonRequest) }

// recovered has all cells usable again where it was for that reason that they were not.
func (t *tracker) recovered(reason string) {
	t.mu.Lock()
	c := apimeta.FindStatusCondition(t.base.Conditions, v1alpha1.ConditionCellsUsable)
	was := c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
	t.mu.Unlock()
	if was {
		t.unusable(nil)
	}
}
