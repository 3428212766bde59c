package backup

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/configuration"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// duties are what the holder of the Lease has to do.
type duties struct {
	config  Config
	metrics *metrics
	kube    kubernetes.Interface
	client  *client.Client
	source  *configuration.Follower
}

// work does all of it until ctx ends, or until the RCP's objects cannot be followed.
func work(ctx context.Context, config Config, metrics *metrics) error {
	// Whatever is begun under the Lease writes nothing once that is over.
	config.RCP = lease.Guarded(config.RCP)
	kube, cells, err := client.Connect(config.RCP)
	if err != nil {
		return err
	}
	source, err := configuration.New(config.RCP)
	if err != nil {
		return err
	}
	d := &duties{config: config, metrics: metrics, kube: kube, client: cells, source: source}
	replicate, err := d.replication()
	if err != nil {
		return err
	}
	keep, err := d.mirror()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer source.Wait()
	defer cancel()
	source.Start(ctx)
	known := source.Cells
	metrics.cells.Store(&known)
	defer metrics.cells.Store(nil)
	f := &follower{source: source, logger: config.Logger}
	replicated, mirrored := make(chan *replication.State), make(chan *replication.State)
	following.Go(func() { f.run(ctx, replicated, mirrored) })
	following.Go(func() { d.drive(ctx) })
	following.Go(func() { lookAfterFailovers(ctx, config) })
	following.Go(func() {
		defer cancel() // one does not go on without the other
		if err := keep(ctx, mirrored); err != nil {
			config.Logger.Error("the backup has ended", "err", err)
		}
	})
	return replicate(ctx, replicated)
}

func (d *duties) replication() (func(context.Context, <-chan *replication.State) error, error) {
	r := reporter{client: d.client, now: d.config.Now}
	controller, err := replication.NewController(replication.ControllerConfig{
		RCP: d.config.RCP, Logger: d.config.Logger, Metrics: d.metrics.replication, Now: d.config.Now, Report: r.report,
	})
	if err != nil {
		return nil, err
	}
	return controller.Run, nil
}

// mirror is the part that keeps envelopes.
func (d *duties) mirror() (func(context.Context, <-chan *replication.State) error, error) {
	p := &publisher{configMaps: d.kube.CoreV1().ConfigMaps(v1alpha1.Namespace)}
	r := &reporter{client: d.client, now: d.config.Now}
	h := newHerald(d.kube, d.config.Logger, d.config.Now)
	m, err := mirror.New(mirror.Config{
		Ring: func(ctx context.Context) (*v1alpha1.Ring, error) {
			return d.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
		},
		Publish: p.publish, Published: p.published,
		Report: func(ctx context.Context, report mirror.Report) error {
			for _, cell := range d.source.Cells() {
				if cell.Cell.Name == report.Cell {
					return r.standing(ctx, cell.Cell.UID, report)
				}
			}
			return nil
		},
		Remade: h.tell, Metrics: d.metrics.mirror, Logger: d.config.Logger, Now: d.config.Now,
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, states <-chan *replication.State) error {
		var telling sync.WaitGroup
		defer telling.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		telling.Go(func() { h.run(ctx) })
		telling.Go(func() { d.prune(ctx, p) })
		return m.Run(ctx, states)
	}, nil
}

// pruneEvery is how often the marks of cells that were removed are looked for.
const pruneEvery = time.Minute

// prune deletes the marks of cells that are gone, until ctx ends.
func (d *duties) prune(ctx context.Context, p *publisher) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !d.source.Synced() {
			continue
		}
		cells := map[string]bool{}
		for _, cell := range d.source.Cells() {
			cells[cell.Cell.Name] = true
		}
		if err := p.prune(ctx, cells); err != nil && ctx.Err() == nil {
			d.config.Logger.Warn("cannot delete the marks of cells that are gone", "err", err)
		}
	}
}

// drive takes over rebalances that nobody drives.
func (d *duties) drive(ctx context.Context) {
	driver := &rebalance.Driver{
		RCP: d.config.RCP, Identity: d.config.Identity, LeaseDuration: d.config.LeaseDuration, Logger: d.config.Logger,
		Settle: Settle(d.kube),
	}
	if err := driver.Attend(ctx); err != nil {
		d.config.Logger.Error("nobody takes over rebalances that are not driven", "err", err)
	}
}

// lookAfterFailovers takes runs over that nobody drives, until ctx ends.
func lookAfterFailovers(ctx context.Context, config Config) {
	driver := &failover.Driver{
		RCP: config.RCP, Identity: config.Identity, LeaseDuration: config.LeaseDuration, Logger: config.Logger,
	}
	if err := driver.Attend(ctx); err != nil {
		config.Logger.Error("nobody takes over failovers that are not driven", "err", err)
	}
}

// follower says which cells there are, at each change of the configuration in the RCP.
type follower struct {
	source *configuration.Follower
	logger *slog.Logger
	// last is what was told last: a table takes long to build, and most changes are of no layout.
	last *routing.Snapshot
}

// run sends the newest state, once the RCP has answered and then at each change, until ctx ends. A ring
// that makes no sense is not sent.
func (f *follower) run(ctx context.Context, states ...chan<- *replication.State) {
	if !cache.WaitForCacheSync(ctx.Done(), f.source.Synced) {
		return
	}
	for {
		state, err := f.state()
		if err != nil {
			f.logger.Error("the configuration in the RCP is not usable, keeping the last good one", "err", err)
		} else {
			for _, to := range states {
				select {
				case <-ctx.Done():
					return
				case to <- state:
				}
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
	snapshot, err := routing.Successor(f.last, ring)
	if err != nil {
		return nil, err
	}
	f.last = snapshot
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
	config.Wrap(lease.Guard)
	return replication.Access{Config: config, Version: fmt.Sprint(version, config.Host, cell.Cell.Spec.Endpoints)}
}
