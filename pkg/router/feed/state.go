package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// State is everything that serving a request needs. It never changes.
type State struct {
	// Snapshot places objects.
	Snapshot *routing.Snapshot
	rcp      *upstream.ControlPlane
	cells    map[string]cell
	replaced chan struct{}

	// placed are the writes by key that hold this State, shared the others of all States of its epoch, and all those of
	// all States of its Feed.
	placed, shared, all *flights
	// settled is closed once no write that it replaces the State of is in flight.
	settled chan struct{}
}

// Epoch is what a router can acknowledge of a configuration.
type Epoch struct {
	// Epoch and Window are those of the Ring's status.
	Epoch, Window int64
}

func (s *State) epoch() Epoch { return Epoch{s.Snapshot.Epoch, s.Snapshot.Window} }

// settle waits until no write is in flight that a State acknowledges the end of, which has replaced previous: of a new
// window, those by key that hold previous or an older State; of a new epoch, the others too.
func (s *State) settle(ctx context.Context, previous *State) bool {
	select {
	case <-ctx.Done():
		return false
	case <-previous.settled:
	}
	return previous.placed.wait(ctx) && (s.shared == previous.shared || previous.shared.wait(ctx))
}

// Replaced is closed when there is a newer State.
func (s *State) Replaced() <-chan struct{} { return s.replaced }

// cell is the way to a cell and what it was built from, so that a new State keeps the connections of
// a cell that did not change.
type cell struct {
	saved routing.SavedCell
	plane *upstream.ControlPlane
	// broken says why the newest credentials cannot be used: plane is that of older ones, or nil.
	broken error
}

// ControlPlane returns the way to a cell, or to the RCP under route.RCP. The error says why there is
// none; it is the administrator's to mend.
func (s *State) ControlPlane(name string) (*upstream.ControlPlane, error) {
	if name == route.RCP {
		return s.rcp, nil
	}
	if s.Snapshot.Unavailable[name] {
		return nil, errors.New("it was failed over")
	}
	return s.Raw(name)
}

// Raw is the way to a cell even if it was failed over, for those who look after it.
func (s *State) Raw(name string) (*upstream.ControlPlane, error) {
	c, ok := s.cells[name]
	if !ok {
		return nil, fmt.Errorf("there is no Cell %s", name)
	}
	if c.plane == nil {
		return nil, c.broken
	}
	return c.plane, nil
}

// HasCell says whether there is a Cell of that name, usable or not.
func (s *State) HasCell(name string) bool {
	_, ok := s.cells[name]
	return ok
}

// Cells returns the names of all Cells, in order.
func (s *State) Cells() []string { return slices.Sorted(maps.Keys(s.cells)) }

// closeUnused ends the ways to cells that next, which may be nil, has no use for. Requests in flight go on.
func (s *State) closeUnused(next *State) {
	for name, c := range s.cells {
		if c.plane != nil && (next == nil || next.cells[name].plane != c.plane) {
			c.plane.Close()
		}
	}
}

// newState builds a State, reusing the connections of previous (which may be nil). A ring that makes
// no sense is an error; a cell without usable credentials is not, since it harms only its own keys.
func newState(ring *v1alpha1.Ring, saved []routing.SavedCell, rcp *upstream.ControlPlane, previous *State, respond upstream.ErrorResponder) (*State, error) {
	var known *routing.Snapshot
	if previous != nil {
		known = previous.Snapshot
	}
	snapshot, err := routing.Successor(known, ring)
	if err != nil {
		return nil, err
	}
	s := &State{
		Snapshot: snapshot, rcp: rcp, cells: make(map[string]cell, len(saved)),
		replaced: make(chan struct{}), settled: make(chan struct{}),
		placed: newFlights(), shared: newFlights(), all: newFlights(),
	}
	if previous != nil {
		s.all = previous.all
		if snapshot.Epoch == previous.Snapshot.Epoch {
			s.shared = previous.shared
		}
	}
	for _, sc := range saved {
		name := sc.Cell.Name
		if previous != nil {
			if old, ok := previous.cells[name]; ok && old.plane != nil && sameConnection(old.saved, sc) {
				s.cells[name] = cell{saved: sc, plane: old.plane}
				continue
			}
		}
		plane, err := connect(sc, respond)
		s.cells[name] = cell{saved: sc, plane: plane, broken: err}
		if err == nil || previous == nil {
			continue
		}
		if old, ok := previous.cells[name]; ok && old.plane != nil {
			s.cells[name] = cell{saved: old.saved, plane: old.plane, broken: err}
		}
	}
	return s, nil
}

// Broken says what is wrong with the credentials of cells, those that keep older ones included.
func (s *State) Broken() []error {
	var out []error
	for _, c := range s.cells {
		if c.broken != nil {
			out = append(out, c.broken)
		}
	}
	return out
}

// Saved is what to keep on disk: for each cell the credentials in use.
func (s *State) Saved() []routing.SavedCell {
	out := make([]routing.SavedCell, 0, len(s.cells))
	for _, c := range s.cells {
		out = append(out, c.saved)
	}
	slices.SortFunc(out, func(a, b routing.SavedCell) int { return strings.Compare(a.Cell.Name, b.Cell.Name) })
	return out
}

func sameConnection(a, b routing.SavedCell) bool {
	return bytes.Equal(a.Kubeconfig, b.Kubeconfig) && slices.Equal(a.Cell.Spec.Endpoints, b.Cell.Spec.Endpoints)
}

func connect(sc routing.SavedCell, respond upstream.ErrorResponder) (*upstream.ControlPlane, error) {
	config, err := cells.Credentials(&sc.Cell, sc.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return upstream.New(sc.Cell.Name, config, sc.Cell.Spec.Endpoints, respond)
}

func newRCP(config Config) (*upstream.ControlPlane, error) {
	return upstream.New(route.RCP, config.RCP, nil, config.Respond)
}
