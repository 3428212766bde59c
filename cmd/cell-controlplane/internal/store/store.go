// Package store owns the embedded etcd: one member, on disk with fsync, reachable through a unix socket
// in a directory that only its owner can enter. No TCP port is opened, so other users of the machine
// cannot get at the data and no port can be taken.
//
// A write that etcd acknowledged is in the write-ahead log on disk, and survives the death of the
// process at any moment.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/grpclog"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

const (
	startTimeout = 60 * time.Second
	quotaBytes   = 8 << 30
	slowRequest  = time.Second
	// segmentBytes is how much etcd sets aside for each piece of its log, two at a time. The default of
	// 64 MB is made for one etcd per machine.
	segmentBytes = 16 << 20
)

// Store is a running etcd.
type Store struct {
	etcd     *embed.Etcd
	endpoint string
	remove   func()
	closing  *atomic.Bool
}

// Start opens the data directory and returns when the member is ready to serve.
//
// etcd ends the process when it cannot write to its log, on a full disk for example, because it must not
// acknowledge anything from then on; the reason goes to stderr before.
func Start(ctx context.Context, dir layout.Dir, stderr io.Writer) (*Store, error) {
	socket, remove, err := openSocket(dir)
	if err != nil {
		return nil, err
	}
	wal.SegmentSizeBytes = segmentBytes
	// Clients that the apiserver opens for a moment and closes again are no news.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, stderr))
	endpoint := url.URL{Scheme: "unix", Path: socket}
	closing := new(atomic.Bool)
	etcd, err := embed.StartEtcd(config(dir, endpoint, klogCore{stderr: stderr, closing: closing}))
	if err != nil {
		remove()
		return nil, fault.New(fmt.Errorf("starting etcd on %s: %w", dir.Etcd(), err),
			"check that the disk has free space and that nobody changed files in that directory")
	}
	s := &Store{etcd: etcd, endpoint: endpoint.String(), remove: remove, closing: closing}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case err = <-etcd.Err():
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, fmt.Errorf("waiting for etcd: %w", err)
}

func config(dir layout.Dir, endpoint url.URL, log zapcore.Core) *embed.Config {
	c := embed.NewConfig()
	c.Name = "store"
	c.Dir = dir.Etcd()
	c.ListenClientUrls = []url.URL{endpoint}
	// What a member advertises is for peers and for clients that look for more members. There are none,
	// so the default addresses stay, on which nobody listens.
	c.ListenPeerUrls = nil
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.QuotaBackendBytes = quotaBytes
	// The zero value would have every request logged as slow.
	c.WarningUnaryRequestDuration = slowRequest
	// The apiserver compacts; etcd must not compete with it.
	c.AutoCompactionRetention = "0"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(log))
	return c
}

// Endpoint is the address for an etcd client.
func (s *Store) Endpoint() string { return s.endpoint }

// Failed yields when etcd stops by itself.
func (s *Store) Failed() <-chan struct{} { return s.etcd.Server.StopNotify() }

// Close ends etcd. Clients should be gone, it waits some seconds for them.
func (s *Store) Close() {
	s.closing.Store(true)
	s.etcd.Close()
	s.remove()
}
