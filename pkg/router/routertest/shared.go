package routertest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// Shared is a federation with a router for all tests of a package. The zero value is one that the first test begins
// which needs it.
type Shared struct {
	once   sync.Once
	dir    string
	router *Router
	err    error
}

// Config founds the federation and starts the router at the first call, and returns the access that the RCP's
// administrator has to it; callers get copies of their own. A start that failed fails every test that asks.
func (s *Shared) Config(t testing.TB, rcp *rest.Config, founders []federation.NewCell) *rest.Config {
	t.Helper()
	s.once.Do(func() {
		if _, s.err = federation.Init(t.Context(), rcp, federation.InitOptions{Founders: founders}); s.err != nil {
			return
		}
		if s.dir, s.err = os.MkdirTemp("", "kubecell-test-"); s.err == nil {
			s.router, s.err = Start(rcp, s.dir)
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return rest.CopyConfig(s.router.Config)
}

// Close ends the router, after the last test.
func (s *Shared) Close() {
	if s.router != nil {
		if err := s.router.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "router:", err)
		}
	}
	_ = os.RemoveAll(s.dir)
}
