package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// Pool is a set of control planes that tests share. They are started by the first test that asks.
type Pool struct {
	size int

	mu      sync.Mutex // guards what follows
	started bool
	dir     string
	planes  []sandbox.ControlPlane
	configs []*rest.Config
	err     error
}

// NewPool describes n control planes and starts none.
func NewPool(n int) *Pool { return &Pool{size: n} }

// Configs starts the control planes at the first call and returns the administrator's access to
// each; callers get copies of their own. A start that failed fails every test that asks.
func (p *Pool) Configs(t testing.TB) []*rest.Config {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		p.started = true
		if p.dir, p.err = os.MkdirTemp("", "kubecell-test-"); p.err == nil {
			p.planes, p.configs, p.err = start(p.dir, p.size)
		}
	}
	if p.err != nil {
		t.Fatalf("start %d control planes: %v", p.size, p.err)
	}
	copies := make([]*rest.Config, len(p.configs))
	for i, config := range p.configs {
		copies[i] = rest.CopyConfig(config)
	}
	return copies
}

// EtcdSocket is where the etcd of a started control plane listens, by the index that it has in Configs.
func (p *Pool) EtcdSocket(i int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return filepath.Join(p.planes[i].Dir, "etcd", "client.sock")
}

// Authority is where the certificate and the key are, as PEM, by which a started control plane's client certificates
// are signed, by the index that it has in Configs.
func (p *Pool) Authority(i int) (certFile, keyFile string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := filepath.Join(p.planes[i].Dir, "pki")
	return filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
}

// Compact makes the etcd of every control plane forget the past, as an apiserver does that tells its replicas.
func (p *Pool) Compact(t testing.TB) {
	t.Helper()
	for i := range p.Configs(t) {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + p.EtcdSocket(i)}, Context: t.Context()})
		if err != nil {
			t.Fatal(err)
		}
		now, err := client.Get(t.Context(), "nothing")
		if err == nil {
			_, err = client.Compact(t.Context(), now.Header.Revision)
		}
		if err == nil {
			_, err = client.Put(t.Context(), "compact_rev_key", strconv.FormatInt(now.Header.Revision, 10))
		}
		if err = errors.Join(err, client.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Close ends the control planes and removes their files. It may be called more than once.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Nobody needs the data any more, so nobody waits for an orderly end.
	killed, cancel := context.WithCancel(context.Background())
	cancel()
	for _, plane := range p.planes {
		if _, err := plane.Stop(killed); err != nil {
			fmt.Fprintf(os.Stderr, "stop %s: %v\n", plane.Name, err)
		}
	}
	p.planes = nil
	if p.dir != "" {
		if err := os.RemoveAll(p.dir); err != nil {
			fmt.Fprintf(os.Stderr, "remove control planes: %v\n", err)
		}
	}
}

// Main runs the tests of a package, then closes the pools. It returns the code to exit with.
func Main(m *testing.M, pools ...interface{ Close() }) int {
	defer func() {
		for _, pool := range pools {
			pool.Close()
		}
	}()
	return m.Run()
}
