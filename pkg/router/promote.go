package router

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// promoted lets a request go on once what it needs of a cell that was failed over is there again: it promotes the one
// object that the request is about, and refuses what is about many until all are. Requests that need nothing of that cell
// go on at once. It is false where the client has its answer.
func (h *handler) promoted(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, to route.Route) bool {
	if len(state.Snapshot.Promoting) == 0 {
		return true
	}
	var err error
	switch of, needed := needs(state, info, to); {
	case !needed:
	case len(of) == 0:
		err = incomplete(state)
	case !h.may(state):
		err = route.Unregistered() // a promotion is a write
	default:
		// Nobody who may not ask has it brought back.
		if err = h.authorize(r); !apierrors.IsForbidden(err) {
			err = h.promotions.one(r.Context(), state, info, of)
		}
	}
	if err != nil {
		h.fail(w, r, err)
	}
	return err == nil
}

// needs says whether a request may need an envelope, and in which cells that would be. None of them means that the
// request is about many objects.
func needs(state *feed.State, info *request.RequestInfo, to route.Route) (of []string, needed bool) {
	if !info.IsResourceRequest || !hasBackup(info, state.Snapshot) {
		return nil, false
	}
	switch to.Action {
	case route.Place, route.Refuse, route.Replicate:
		return nil, false // nothing is sent yet, or not there
	case route.Forward:
		of = []string{to.Source}
	default:
		of = to.Sources
	}
	class, key := state.Snapshot.Classes.Of(info.APIGroup, info.Resource, info.Namespace)
	switch {
	case info.Name == "", info.Namespace == "" && isCollection(info):
		return nil, true
	case class == placement.Sharded && !state.Snapshot.MayPromote(key, info.Namespace, info.Name):
		return nil, false
	case class == placement.Dependent:
		// Its name does not tell where its copy is.
		return state.Snapshot.Table.Cells(), true
	}
	return of, true
}

// incomplete is the answer to who asks for many objects while some of them are envelopes.
func incomplete(state *feed.State) error {
	for cell := range state.Snapshot.Promoting {
		err := apierrors.NewServiceUnavailable("cell " + cell + " was failed over and its objects are being brought back: the answer would not be complete yet")
		err.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: route.RetryAfterSeconds}
		return err
	}
	return nil
}

// promotions promotes single objects. Connections are made when they are needed, which is during a failover.
type promotions struct {
	mu sync.Mutex
	// cells that were connected, by name, guarded by mu.
	cells map[string]*promotable
}

// promotable is a cell that is connected once for an epoch: what it serves may be another thing in the next.
type promotable struct {
	plane *upstream.ControlPlane
	epoch int64

	mu   sync.Mutex
	cell *promotion.Cell // nil until it is connected, guarded by mu
}

// one promotes the object that a request is about, where one of the cells has an envelope of it. Of two cells between
// which a key moves the first is the one that it moves from, which is asked first.
func (p *promotions) one(ctx context.Context, state *feed.State, info *request.RequestInfo, of []string) error {
	name := envelope.Name(info.APIGroup, info.Resource, info.Namespace, info.Name)
	engine := &promotion.Promoter{Cells: map[string]*promotion.Cell{}, Snapshot: state.Snapshot}
	for _, cell := range of {
		if cell == route.RCP {
			continue
		}
		connected, err := p.connect(state, cell)
		if err != nil {
			return noPlane(cell, err)
		}
		engine.Cells[cell] = connected
	}
	for _, cell := range of {
		if engine.Cells[cell] == nil {
			continue
		}
		switch result := engine.Promote(ctx, cell, name); {
		case result.Done(), result.Outcome == promotion.Conflict, result.Outcome == promotion.Corrupt:
			// There is nothing to wait for: the object is there, or it will never be.
		default:
			// An older copy takes the place of what a cell refuses when the run says so, which comes to an end.
			return route.Unavailable(cell, "an object of a cell that was failed over cannot be brought back yet: "+result.String())
		}
	}
	return nil
}

func (p *promotions) connect(state *feed.State, cell string) (*promotion.Cell, error) {
	plane, err := state.ControlPlane(cell)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	c := p.cells[cell]
	if c == nil || c.plane != plane || c.epoch != state.Snapshot.Epoch {
		c = &promotable{plane: plane, epoch: state.Snapshot.Epoch}
		if p.cells == nil {
			p.cells = map[string]*promotable{}
		}
		p.cells[cell] = c
	}
	p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cell == nil {
		c.cell, err = connectPromotion(state, cell)
	}
	return c.cell, err
}

func connectPromotion(state *feed.State, cell string) (*promotion.Cell, error) {
	for _, saved := range state.Saved() {
		if saved.Cell.Name != cell {
			continue
		}
		config, err := cells.Config(&saved.Cell, saved.Kubeconfig)
		if err != nil {
			return nil, err
		}
		return promotion.Connect(cell, fence.AsMover(config))
	}
	return nil, fmt.Errorf("there is no Cell %s", cell)
}
