// Package backup is the backup daemon: what keeps the cells of a federation true to each other, beside
// the requests that routers answer.
//
// It hosts the [mirror.Mirror], which keeps an envelope of every workload in its backup cell; the
// [replication.Controller]; and a [rebalance.Driver] that takes over runs which nobody drives any more and deletes
// tombstones in time. Any number of daemons may run; the one that holds the Lease
// "kubecell-backup" in kubecell-system works, the others stand by and take over within twice the Lease's
// duration, or at once when the holder ends in order. Whatever two of them do at the same time, for a
// moment after a holder lost touch with the router control plane (RCP), is safe: everything is written
// with preconditions, and [lease.Guard] sends nothing once the Lease is over, also where the process was
// suspended meanwhile. Only the [failover.Guard] works in each of them: it cannot wait.
//
// Nothing is kept in the process or on disk: a daemon that is killed and started again begins by
// comparing everything.
//
// Not promised: that anything is repaired while the RCP is down; it holds the sources.
//
// Start reading at [Run], then [mirror.Mirror] and [replication.Controller].
package backup

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/adminport"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/expiry"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// LeaseName of the Lease in kubecell-system whose holder works.
const LeaseName = "kubecell-backup"

// Config is what a daemon needs to run.
type Config struct {
	// RCP is the client configuration for the router control plane.
	RCP *rest.Config
	// Identity tells this daemon from others, in the Lease.
	Identity string
	// Listen is the host and port of health, metrics and profiles.
	Listen string
	// LeaseDuration is how long others wait for a holder that is silent, 7 s where zero; and for a driver of a run, 15 s
	// where zero.
	LeaseDuration time.Duration
	// Ready is called once with the base URL of health, metrics and profiles.
	Ready  func(url string)
	Logger *slog.Logger
	Now    func() time.Time
}

// defaultLease has another daemon work within 15 s of the holder's last sign of life. Leader election looks every fifth of the
// Lease's duration, up to 2.2 times as late by its jitter: one that stands by knows of a renewal after 3.1 s at the latest, waits
// for 7 s from then, and finds out 3.1 s later.
const defaultLease = 7 * time.Second

// metrics are those of the parts.
type metrics struct {
	replication *replication.Metrics
	mirror      *mirror.Metrics
	// cells are those of the newest configuration; nil while this daemon does not work.
	cells atomic.Pointer[func() []routing.SavedCell]
}

// certificates are those that the daemon goes by: of the cells while it works.
func (m *metrics) certificates(rcp *rest.Config, now time.Time) []expiry.Certificate {
	out := expiry.OfConfig(expiry.RCP, rcp, now)
	if cells := m.cells.Load(); cells != nil {
		out = append(out, expiry.OfCells((*cells)(), now)...)
	}
	return out
}

// Run works, or stands by, until ctx ends. Then it gives the Lease up and returns nil.
func Run(ctx context.Context, config Config) error {
	kube, err := kubernetes.NewForConfig(config.RCP)
	if err != nil {
		return fmt.Errorf("build client of the RCP: %w", err)
	}
	registry := prometheus.NewRegistry()
	leading := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kubecell_backup_leader", Help: "1 while this daemon holds the Lease and works, else 0.",
	})
	counted := &metrics{replication: replication.NewMetrics(registry), mirror: mirror.NewMetrics(registry)}
	registry.MustRegister(leading, expiry.NewCollector(config.Now, func(now time.Time) []expiry.Certificate {
		return counted.certificates(config.RCP, now)
	}))
	health := http.NewServeMux()
	healthz.InstallHandler(health)
	healthz.InstallLivezHandler(health)
	healthz.InstallReadyzHandler(health)
	port, err := adminport.Open(ctx, adminport.Config{
		Address: config.Listen, Health: health, Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	})
	if err != nil {
		return err
	}
	defer func() { _ = port.Close() }() // what is cut off is asked again
	config.Ready(port.URL)
	ctx, cancel := context.WithCancel(ctx)
	var guarding sync.WaitGroup
	defer guarding.Wait()
	defer cancel()
	guarding.Go(func() { guard(ctx, config) })
	for ctx.Err() == nil {
		err := lead(ctx, config, kube, func(ctx context.Context) {
			leading.Set(1)
			defer leading.Set(0)
			if err := work(ctx, config, counted); err != nil {
				config.Logger.Error("the work has ended, giving the lease up", "err", err)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// guard freezes cells that were failed over and come back, until ctx ends. It does not wait for the Lease: a cell that comes
// back while nobody holds it must not act for the seconds that it takes another daemon to get it.
func guard(ctx context.Context, config Config) {
	g := &failover.Guard{RCP: config.RCP, Logger: config.Logger}
	if err := g.Watch(ctx); err != nil {
		config.Logger.Error("this daemon freezes no cells that were failed over", "err", err)
	}
}
