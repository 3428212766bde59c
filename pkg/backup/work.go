package backup

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/configuration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// work is what the holder of the Lease does until ctx ends.
func work(ctx context.Context, config Config, metrics *replication.Metrics) error {
	cells, err := client.New(config.RCP)
	if err != nil {
		return err
	}
	r := reporter{client: cells, now: config.Now}
	controller, err := replication.NewController(replication.ControllerConfig{
		RCP: config.RCP, Logger: config.Logger, Metrics: metrics, Now: config.Now, Report: r.report,
	})
	if err != nil {
		return err
	}
	source, err := configuration.New(config.RCP)
	if err != nil {
		return err
	}
	f := &follower{source: source, logger: config.Logger}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer source.Wait()
	defer cancel()
	source.Start(ctx)
	states := make(chan *replication.State)
	following.Go(func() { f.run(ctx, states) })
	driver := &rebalance.Driver{
		RCP: config.RCP, Identity: config.Identity, LeaseDuration: config.LeaseDuration, Logger: config.Logger,
	}
	following.Go(func() {
		if err := driver.Attend(ctx); err != nil {
			config.Logger.Error("nobody takes over rebalances that are not driven", "err", err)
		}
	})
	return controller.Run(ctx, states)
}

// follower says which cells there are, at each change of the configuration in the RCP.
type follower struct {
	source *configuration.Follower
	logger *slog.Logger
}

// run sends the newest state, once the RCP has answered and then at each change, until ctx ends. A ring
// that makes no sense is not sent.
func (f *follower) run(ctx context.Context, states chan<- *replication.State) {
	if !cache.WaitForCacheSync(ctx.Done(), f.source.Synced) {
		return
	}
	for {
		state, err := f.state()
		if err != nil {
			f.logger.Error("the configuration in the RCP is not usable, keeping the last good one", "err", err)
		} else {
			select {
			case <-ctx.Done():
				return
			case states <- state:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.source.Changed():
		}
	}
}

func (f *follower) state() (*replication.State, error) {
	ring, err := f.source.Ring()
	if err != nil {
		return nil, err
	}
	snapshot, err := routing.FromRing(ring)
	if err != nil {
		return nil, err
	}
	access := map[string]replication.Access{}
	for _, cell := range f.source.Cells() {
		if !snapshot.Unavailable[cell.Cell.Name] {
			access[cell.Cell.Name] = f.access(&cell)
		}
	}
	return &replication.State{Snapshot: snapshot, Cells: access}, nil
}

func (f *follower) access(cell *routing.SavedCell) replication.Access {
	version := fmt.Sprintf("%s %s", cell.Cell.UID, cell.Kubeconfig)
	config, err := cells.Config(&cell.Cell, cell.Kubeconfig)
	if err != nil {
		f.logger.Error("a cell has no usable credentials", "cell", cell.Cell.Name, "err", err)
		return replication.Access{Version: version, Err: err}
	}
	return replication.Access{Config: config, Version: version + config.Host}
}
