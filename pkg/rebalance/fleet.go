package rebalance

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// cellTimeout is how long a cell may take to answer one request. A cell that hangs must not keep a unit,
// and its place in the window, for ever.
const cellTimeout = 30 * time.Second

// fleet is the cells of a run.
type fleet struct {
	rcp *rest.Config
	// wrap changes the way to a cell; nil for not.
	wrap func(name string, config *rest.Config)

	mu sync.Mutex
	// meters by cell, guarded by mu. They outlive connections.
	meters map[string]*meter
}

// cellsError says which cells cannot be used.
type cellsError struct {
	problems map[string]error
	// connected are those that can.
	connected map[string]*migration.Cell
}

func (e *cellsError) Error() string { return e.words(func(err error) string { return err.Error() }) }

// advice is the error with what to do about each cell, for whoever reads the record of the run.
func (e *cellsError) advice() string { return e.words(advised) }

func (e *cellsError) words(of func(error) string) string {
	var parts []string
	for name, err := range e.problems {
		parts = append(parts, fmt.Sprintf("cell %s: %s", name, of(err)))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// advised is the text of err with its hint.
func advised(err error) string {
	if hint := exit.HintOf(err, exit.Plugin); hint != "" {
		return err.Error() + "; " + hint
	}
	return err.Error()
}

// connect asks the cells what they serve, with the credentials that the RCP has now. The error is a
// *cellsError where it is the cells'.
func (f *fleet) connect(ctx context.Context, names []string) (map[string]*migration.Cell, error) {
	var mu sync.Mutex // guards connected
	connected := map[string]*migration.Cell{}
	problems, err := f.each(ctx, names, func(name string, config *rest.Config) error {
		cell, err := f.connectOne(name, config)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		connected[name] = cell
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(problems) > 0:
		return nil, &cellsError{problems, connected}
	}
	return connected, nil
}

// fenced says whether the fence is in force in each cell that can have one. Who makes a run by the API had nobody look before.
// The error is a *cellsError where it is the cells'.
func (f *fleet) fenced(ctx context.Context, names []string) error {
	problems, err := f.each(ctx, names, func(name string, config *rest.Config) error {
		warning, problem := checkFence(ctx, name, config)
		switch {
		case problem == nil && warning != "": // it cannot have one
			return nil
		case problem == nil:
			return fence.Await(ctx, config)
		case apierrors.IsUnauthorized(problem), apierrors.IsForbidden(problem):
			return renewable(name, problem)
		}
		return problem
	})
	switch {
	case err != nil:
		return err
	case len(problems) > 0:
		return &cellsError{problems: problems}
	}
	return nil
}

// each does something with all cells at once, by the credentials that the RCP has now, and says what was wrong with which.
func (f *fleet) each(ctx context.Context, names []string, do func(name string, config *rest.Config) error) (problems map[string]error, err error) {
	access, err := federation.Cells(ctx, f.rcp)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards problems
	problems = map[string]error{}
	var group errgroup.Group
	for _, name := range names {
		group.Go(func() error {
			config, err := f.way(name, access)
			if err == nil {
				err = do(name, config)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems[name] = err
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	return problems, nil
}

// way is that to a cell.
func (f *fleet) way(name string, access map[string]federation.Access) (*rest.Config, error) {
	a, exists := access[name]
	switch {
	case !exists:
		return nil, exit.Refusedf("there is no such Cell any more").WithHint("kubectl cell add %s --kubeconfig FILE   # brings it back", name)
	case a.Err != nil:
		return nil, renewable(name, a.Err)
	}
	config := rest.CopyConfig(a.Config)
	config.Timeout = cellTimeout
	if f.wrap != nil {
		f.wrap(name, config)
	}
	return config, nil
}

func (f *fleet) connectOne(name string, config *rest.Config) (*migration.Cell, error) {
	config = fence.AsMover(config)
	m := f.meter(name)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return metered{m, next} })
	cell, err := migration.Connect(name, config)
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) {
		err = renewable(name, err)
	}
	return cell, err
}

// renewable says how the credentials of a cell are replaced that it does not take.
func renewable(name string, err error) error {
	return exit.Refusedf("%w", err).WithHint("kubectl cell add %s --kubeconfig FILE   # renews its credentials", name)
}

func (f *fleet) meter(name string) *meter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.meters == nil {
		f.meters = map[string]*meter{}
	}
	if f.meters[name] == nil {
		f.meters[name] = &meter{}
	}
	return f.meters[name]
}

// loads are what the cells showed since the last call, by name.
func (f *fleet) loads() []load {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []load
	for name, m := range f.meters {
		if l := m.take(); l.writes > 0 || l.refused > 0 {
			l.cell = name
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b load) int { return strings.Compare(a.cell, b.cell) })
	return out
}

// meter measures the writes to a cell.
type meter struct {
	mu      sync.Mutex // guards the rest
	writes  durations
	refused int64
}

func (m *meter) take() load {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := load{writes: m.writes.total, latency: m.writes.quantile(0.99), refused: m.refused}
	// Fewer than make a percentile are kept for the next time.
	if l.writes >= enough {
		m.writes = durations{}
	}
	m.refused = 0
	return l
}

// metered reports to a meter. Lists and searches are not measured: how long they take says how many objects
// there are.
type metered struct {
	*meter
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (m metered) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := time.Now()
	response, err := m.next.RoundTrip(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err != nil:
	case response.StatusCode == http.StatusTooManyRequests:
		m.refused++
	case r.Method != http.MethodGet:
		m.writes.add(time.Since(sent))
	}
	return response, err
}

// WrappedRoundTripper lets client-go look through to the transport below.
func (m metered) WrappedRoundTripper() http.RoundTripper { return m.next }
