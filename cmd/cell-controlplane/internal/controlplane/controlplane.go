// Package controlplane runs one control plane in the foreground: etcd and the apiserver in this process,
// the controllers in a child process, started and stopped in order.
//
// Start: lock, port, certificates, etcd, apiserver, controllers. Stop: controllers, apiserver, etcd.
// Whichever part ends by itself takes the others down; the error says which one it was.
//
// After a crash at any moment the next run on the same directory repairs what is half done and has every
// write that was acknowledged. Start reading at [Run].
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/apiserver"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/child"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/kubeconfig"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/listen"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/lock"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/pki"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/store"
)

// How long each part may take to end before the next one is ended regardless. Nothing acknowledged can
// be lost by that: etcd has it on disk.
const (
	controllersGrace = 3 * time.Second
	apiserverGrace   = 5 * time.Second
	storeGrace       = 3 * time.Second
)

// Collecting garbage less often saves a tenth of the processor time until ready, and memory that is given
// back soon after. Percentages as in GOGC.
const (
	startGC  = 400
	steadyGC = 100
)

// Config says what to run.
type Config struct {
	Dir       string
	Name      string
	Bind      net.IP
	Port      int // 0: the port of the last run, or a free one
	AuditLog  string
	Verbosity int
	Version   string
	Stdout    io.Writer
	Stderr    io.Writer
}

// Run runs the control plane until the context ends, which is the clean way, or a part fails.
func Run(ctx context.Context, c Config) error {
	dir, err := layout.Open(c.Dir)
	if err != nil {
		return err
	}
	if err := checkSpace(dir); err != nil {
		return err
	}
	held, err := lock.Acquire(ctx, dir.Lock())
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	listener, err := listen.Open(ctx, c.Bind.String(), c.Port, dir.Ports())
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the apiserver has closed it already if it ran
	address := serverURL(c.Bind, listener)
	holder := lock.Holder{PID: os.Getpid(), StartTime: time.Now().UTC(), Address: address, Version: c.Version}
	if err := held.Record(holder); err != nil {
		return err
	}
	material, err := c.identities(dir, address)
	if err != nil {
		return err
	}
	p := &parts{address: address, material: material, stdout: c.Stdout}
	defer p.stop()
	if err := p.start(ctx, c, dir, listener); err != nil {
		return p.explain(ctx, err)
	}
	return p.watch(ctx)
}

// identities makes certificates and the kubeconfigs that hold them.
func (c Config) identities(dir layout.Dir, address string) (*pki.Material, error) {
	material, err := pki.Ensure(dir, pki.Request{
		Name:      c.Name,
		Addresses: []net.IP{apiserver.ServiceIP(), c.Bind},
		Now:       time.Now(),
	})
	if err != nil {
		return nil, err
	}
	for name, pair := range map[string]pki.Pair{
		pki.Admin:             material.Admin,
		pki.ControllerManager: material.ControllerManager,
	} {
		access := kubeconfig.Access{Name: c.Name, Server: address, CA: material.CA, Cert: pair.Cert, Key: pair.Key}
		if err := kubeconfig.Write(dir.Kubeconfig(name), access); err != nil {
			return nil, err
		}
	}
	return material, nil
}

// parts are the running pieces. Each field is nil until its piece runs.
type parts struct {
	address  string
	material *pki.Material
	stdout   io.Writer

	controllers *child.Process
	store       *store.Store
	serving     *serving
}

// start brings everything up and returns when it is ready. The child is made first: while it loads,
// waiting for its cue, the other pieces start.
func (p *parts) start(ctx context.Context, c Config, dir layout.Dir, listener *net.TCPListener) (err error) {
	debug.SetGCPercent(startGC)
	arguments := []string{"controllers", "--dir", string(dir), "--v", strconv.Itoa(c.Verbosity)}
	if p.controllers, err = child.Start(arguments, c.Stderr); err != nil {
		return err
	}
	if p.store, err = store.Start(ctx, dir, c.Stderr); err != nil {
		return err
	}
	server, err := apiserver.New(ctx, apiserver.Config{
		Dir: dir, Listener: listener, Etcd: p.store.Endpoint(), AuditLog: c.AuditLog, Verbosity: c.Verbosity,
	})
	if err != nil {
		return err
	}
	p.serving = serve(server)
	if err := p.awaitReady(ctx); err != nil {
		return err
	}
	debug.SetGCPercent(steadyGC)
	_, err = fmt.Fprintf(p.stdout, "ready %s\n", p.address)
	return err
}

func (p *parts) awaitReady(ctx context.Context) error {
	// A part that fails ends the wait; watch then says which one it was.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-p.serving.done:
		case <-p.controllers.Done():
		case <-p.store.Failed():
		case <-ctx.Done():
		}
	}()
	if err := awaitServing(ctx, p.address, p.material); err != nil {
		return err
	}
	if err := p.controllers.Go(); err != nil {
		return err
	}
	select {
	case <-p.controllers.Ready():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain replaces the error of a start that was cut short by its reason: the administrator's wish,
// which is no error, or a part that failed.
func (p *parts) explain(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	if errors.Is(err, context.Canceled) && p.serving != nil {
		return p.watch(ctx)
	}
	return err
}

// watch waits for the end of the context or of a part.
func (p *parts) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.serving.done:
		return p.serving.err
	case <-p.controllers.Done():
		return fmt.Errorf("controllers ended by themselves: %w", p.controllers.Err())
	case <-p.store.Failed():
		return errors.New("etcd stopped by itself; its last log lines say why")
	}
}

// stop ends what runs, in the order that lets each part finish its work.
func (p *parts) stop() {
	if p.controllers != nil {
		p.controllers.Stop(controllersGrace)
	}
	if p.serving != nil {
		p.serving.stop(apiserverGrace)
	}
	if p.store != nil {
		atMost(storeGrace, p.store.Close)
	}
}

// serverURL is how clients on this machine reach the apiserver.
func serverURL(bind net.IP, listener *net.TCPListener) string {
	host := bind
	if host.IsUnspecified() {
		host = net.IPv4(127, 0, 0, 1)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return "https://" + net.JoinHostPort(host.String(), strconv.Itoa(port))
}
