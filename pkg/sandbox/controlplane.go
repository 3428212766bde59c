package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// Loopback is the only address that a sandbox listens on.
const Loopback = "127.0.0.1"

// stopGrace is how long a daemon of a sandbox gets to end in order.
const stopGrace = 15 * time.Second

// readyTimeout is for one question whether an apiserver is ready.
const readyTimeout = 5 * time.Second

// ControlPlane is one control plane as a process: embedded etcd, apiserver and controllers, with all
// its files below one directory. The value only describes it; the truth is the lock in the directory.
type ControlPlane struct {
	// Name is a DNS label.
	Name string
	// Binary is the path of cell-controlplane.
	Binary string
	// Dir holds everything of this control plane and is made where missing.
	Dir string
	// LogPath is the log of the process.
	LogPath string
	// Port of the apiserver; 0: the one of the last run, or a free one.
	Port int
	// Processors is how many it uses at once, unless GOMAXPROCS says so to all of this machine; 0: all of them.
	Processors int
	// DieWithParent ties the process to this one, for tests.
	DieWithParent bool
}

// Share is how many processors each of so many control planes is to use that share those of this process, at least one. Each
// would take all for itself, and on a small machine spend a quarter of them on waking threads that find nothing to do.
func Share(planes int) int { return max(1, runtime.GOMAXPROCS(0)/planes) }

// Start starts the process where it does not run and returns when the apiserver is ready.
func (c ControlPlane) Start(ctx context.Context) (daemon.Result, error) {
	return daemon.Start(ctx, daemon.Spec{
		Name: c.Name,
		Command: []string{
			c.Binary, "run", "--dir", c.Dir, "--name", c.Name,
			"--bind", Loopback, "--port", strconv.Itoa(c.Port),
		},
		Env:           c.environ(),
		Ready:         c.ready,
		LockPath:      c.lockPath(),
		LogPath:       c.LogPath,
		Grace:         stopGrace,
		DieWithParent: c.DieWithParent,
	})
}

// environ is nil for that of this process.
func (c ControlPlane) environ() []string {
	if c.Processors == 0 || os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(c.Processors))
}

// ready asks the apiserver whether it is, and proves the administrator's access along the way.
func (c ControlPlane) ready(ctx context.Context, _ string) error {
	config, err := c.Config()
	if err != nil {
		return err
	}
	config.Timeout = readyTimeout
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("build client of %s: %w", c.Name, err)
	}
	return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// Stop ends the process; false when it did not run.
func (c ControlPlane) Stop(ctx context.Context) (bool, error) {
	return daemon.Stop(ctx, c.lockPath(), stopGrace)
}

// Holder is the running process, or false.
func (c ControlPlane) Holder() (daemon.Holder, bool, error) { return daemon.Inspect(c.lockPath()) }

// AdminKubeconfig is the path of the administrator's kubeconfig, which exists once it has started.
func (c ControlPlane) AdminKubeconfig() string {
	return filepath.Join(c.Dir, "kubeconfig", "admin.conf")
}

// Config connects as the administrator.
func (c ControlPlane) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.AdminKubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of %s: %w", c.Name, err)
	}
	// A sandbox has nobody to protect from its own tools.
	config.QPS, config.Burst = -1, -1
	return config, nil
}

func (c ControlPlane) lockPath() string { return filepath.Join(c.Dir, "lock") }
func (c ControlPlane) caCert() string   { return filepath.Join(c.Dir, "pki", "ca.crt") }
func (c ControlPlane) caKey() string    { return filepath.Join(c.Dir, "pki", "ca.key") }

// portFree is true when a server could listen on the port of the loopback address.
func portFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(Loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = listener.Close() // it accepted nothing; the port is free either way
	return true
}
