package failover

import (
	"sync"

	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// ways are the ways to the cells for one report, which reads what is in migration as well. Each cell is asked once what it
// serves, by whoever needs it first.
type ways struct {
	access map[string]federation.Access
	cells  map[string]func() (*migration.Cell, error)
}

func newWays(access map[string]federation.Access) *ways {
	w := &ways{access: access, cells: map[string]func() (*migration.Cell, error){}}
	for name := range access {
		w.cells[name] = sync.OnceValues(func() (*migration.Cell, error) { return reach(access, name) })
	}
	return w
}

// to is the way to a cell. It may be called by many goroutines at once.
func (w *ways) to(name string) (*migration.Cell, error) {
	if connect, exists := w.cells[name]; exists {
		return connect()
	}
	return reach(w.access, name)
}

func reach(access map[string]federation.Access, name string) (*migration.Cell, error) {
	config, err := configOf(access, name)
	if err != nil {
		return nil, err
	}
	config = fence.AsMover(config)
	config.Timeout = listTimeout
	return migration.Connect(name, config)
}
