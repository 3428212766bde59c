package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// conditionManager of what is said about the freeze: it applies one condition and leaves those of others alone.
const conditionManager = "kubecell-failover"

// Frozen is what became of an attempt to freeze a cell: a reason of [v1alpha1.ConditionFrozen].
type Frozen struct{ Reason, Message string }

// InForce says that the cell refuses writes.
func (f Frozen) InForce() bool { return f.Reason == v1alpha1.ReasonFreezeInForce }

func (f Frozen) String() string {
	switch f.Reason {
	case v1alpha1.ReasonFreezeInForce:
		if f.Message != "" {
			return "the cell is frozen; " + f.Message
		}
		return "the cell is frozen"
	case v1alpha1.ReasonFreezeUnreachable:
		return "the cell does not answer, and is frozen when it does"
	}
	return "the cell is not frozen: " + f.Message
}

// maybeFrozen says whether a cell refuses writes for all that was said last of it: a freeze that has failed may have been
// installed in part.
func maybeFrozen(cell *v1alpha1.Cell) bool {
	said := meta.FindStatusCondition(cell.Status.Conditions, v1alpha1.ConditionFrozen)
	return said != nil && (said.Status == metav1.ConditionTrue || said.Reason == v1alpha1.ReasonFreezeFailed)
}

// frozenTooLate says whether a freeze has failed. A cell that is in no ring and available is frozen by nobody but a guard that did
// not know yet: a failback that is under way has the freeze in force until it thaws the cell itself.
func frozenTooLate(cell *v1alpha1.Cell) bool {
	said := meta.FindStatusCondition(cell.Status.Conditions, v1alpha1.ConditionFrozen)
	return said != nil && said.Reason == v1alpha1.ReasonFreezeFailed
}

// Freeze freezes a cell, and returns when that is in force at each of its apiservers, has failed, or ctx has ended.
// Where no apiservers are given, config is the way to the only one. One that does not answer is not waited for, and is
// named in the message.
func Freeze(ctx context.Context, config *rest.Config, apiservers ...*rest.Config) Frozen {
	return freeze(ctx, askTimeout, config, apiservers)
}

// freeze waits for the cell's first answer so long.
func freeze(ctx context.Context, patience time.Duration, config *rest.Config, apiservers []*rest.Config) Frozen {
	if _, err := federation.Probe(ctx, within(config, patience)); err != nil {
		return Frozen{v1alpha1.ReasonFreezeUnreachable, err.Error()}
	}
	var silent []string
	_, err := fence.Freeze(ctx, within(config, askTimeout))
	if err == nil {
		silent, err = everywhere(ctx, config, apiservers, fence.AwaitFrozen)
	}
	switch {
	case errors.Is(err, fence.ErrUnsupported):
		return Frozen{v1alpha1.ReasonFreezeUnsupported, err.Error()}
	case err != nil:
		return Frozen{v1alpha1.ReasonFreezeFailed, err.Error()}
	}
	out := Frozen{Reason: v1alpha1.ReasonFreezeInForce}
	if len(silent) > 0 {
		out.Message = strings.Join(silent, ", ") + " did not answer: it refuses writes as soon as it hears of the freeze from its etcd"
	}
	return out
}

// Thaw lets a cell be written to again, and returns when each of its apiservers that answers does so, or ctx has ended.
// Where no apiservers are given, config is the way to the only one.
func Thaw(ctx context.Context, config *rest.Config, apiservers ...*rest.Config) error {
	if err := fence.Thaw(ctx, within(config, askTimeout)); err != nil {
		return err
	}
	_, err := everywhere(ctx, config, apiservers, fence.AwaitThawed)
	return err
}

// everywhere waits for each apiserver of a cell, since each learns of a policy by itself. silent are the hosts of those
// that do not answer, of which nothing is known; where none answers that is an error.
func everywhere(ctx context.Context, config *rest.Config, apiservers []*rest.Config, await func(context.Context, *rest.Config) error) (silent []string, err error) {
	if len(apiservers) == 0 {
		apiservers = []*rest.Config{config}
	}
	errs, away := make([]error, len(apiservers)), make([]error, len(apiservers))
	var waiting sync.WaitGroup
	for i, one := range apiservers {
		waiting.Go(func() {
			quick := within(one, askTimeout)
			if _, away[i] = federation.Probe(ctx, quick); away[i] != nil {
				return
			}
			if errs[i] = await(ctx, quick); errs[i] != nil {
				// It may have gone away meanwhile. The time for waiting may be over as well.
				_, away[i] = federation.Probe(context.WithoutCancel(ctx), quick)
			}
		})
	}
	waiting.Wait()
	for i, one := range apiservers {
		if away[i] != nil {
			silent, errs[i] = append(silent, one.Host), nil
		}
	}
	if len(silent) == len(apiservers) {
		return silent, fmt.Errorf("no apiserver of the cell answers: %w", errors.Join(away...))
	}
	return silent, errors.Join(errs...)
}

// within is config for requests that may take so long.
func within(config *rest.Config, timeout time.Duration) *rest.Config {
	out := rest.CopyConfig(config)
	out.Timeout = timeout
	return out
}

// wrapped is config with what a test changes in the way to a cell.
func wrapped(config *rest.Config, cell string, wrap func(string, *rest.Config)) *rest.Config {
	out := rest.CopyConfig(config)
	out.QPS, out.Burst = -1, -1
	if wrap != nil {
		wrap(cell, out)
	}
	return out
}

// wrappedAll is wrapped for the ways to each apiserver of a cell.
func wrappedAll(configs []*rest.Config, cell string, wrap func(string, *rest.Config)) []*rest.Config {
	out := make([]*rest.Config, len(configs))
	for i, config := range configs {
		out[i] = wrapped(config, cell, wrap)
	}
	return out
}

// sayFrozen writes the condition on the Cell, unless it is there already, or the Cell is another one by then.
func sayFrozen(ctx context.Context, c *client.Client, cell string, state Frozen) error {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionFalse, Reason: state.Reason, Message: state.Message,
	}
	if state.InForce() {
		condition.Status = metav1.ConditionTrue
	}
	return c.ApplyCellCondition(ctx, cell, conditionManager, condition)
}
