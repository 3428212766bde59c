// Package sandboxtest is the test bed: real control planes, and whole federations of them, for the
// tests of every package that talks to Kubernetes.
//
// What a test starts here ends with the test, whatever becomes of it; when the test process dies, the
// kernel takes the control planes along (Linux). A missing binary fails the test: there is no way to
// pass without real control planes.
//
// Starting a control plane takes about two seconds of CPU. Tests that can share one do so by a [Pool]
// that lives as long as the test binary:
//
//	var planes = sandboxtest.NewPool(3)
//
//	func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }
//
// Packages that this one is built from (federation and what that imports) use it from external test
// packages, such as federation_test.
package sandboxtest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// startPatience is enough for many control planes on a busy machine.
const startPatience = 3 * time.Minute

// ControlPlane starts one control plane for this test and returns the administrator's access.
func ControlPlane(t testing.TB) *rest.Config {
	t.Helper()
	return ControlPlanes(t, 1)[0]
}

// ControlPlanes starts n control planes at once for this test, named cp-1 to cp-n.
func ControlPlanes(t testing.TB, n int) []*rest.Config {
	t.Helper()
	pool := NewPool(n)
	t.Cleanup(pool.Close)
	return pool.Configs(t)
}

// start starts n control planes below dir. The ones that were started are returned with an error,
// too, to be stopped.
func start(dir string, n int) ([]sandbox.ControlPlane, []*rest.Config, error) {
	binary, err := controlPlaneBinary()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	planes := make([]sandbox.ControlPlane, n)
	configs := make([]*rest.Config, n)
	for i := range n {
		name := fmt.Sprintf("cp-%d", i+1)
		planes[i] = sandbox.ControlPlane{
			Name: name, Binary: binary, Processors: sandbox.Share(n), DieWithParent: true,
			Dir: filepath.Join(dir, name), LogPath: filepath.Join(dir, name+".log"),
		}
		group.Go(func() error {
			if _, err := planes[i].Start(ctx); err != nil {
				return err
			}
			config, err := planes[i].Config()
			configs[i] = config
			return err
		})
	}
	return planes, configs, group.Wait()
}
