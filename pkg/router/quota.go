package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

const (
	// roomTimeout bounds for how long a write waits for its cell's part to follow: as long as an apiserver lets one
	// wait for its quotas to be counted. It is shorter than [quota.HoldFor].
	roomTimeout = 10 * time.Second
	// roomPause is the pause before a write is sent again for the second time, and later pauses are twice as long each,
	// up to slowestRoomPause: an apiserver admits by a watch of its quotas.
	roomPause        = 10 * time.Millisecond
	slowestRoomPause = 320 * time.Millisecond
	// totalTimeout bounds the question what all cells use, before a quota is shown as the RCP has it: perhaps as used by what
	// is in the RCP alone. It is longer than any cell is waited for.
	totalTimeout = 3 * time.Second
)

// quotaLocks lets one request after the other make room in the same quota: at once they would only disturb each
// other. Routers do not wait for one another.
type quotaLocks struct {
	mu    sync.Mutex // guards what follows
	locks map[replication.Object]*quotaLock
}

type quotaLock struct {
	sync.Mutex
	users int
}

// lock returns the function that unlocks.
func (l *quotaLocks) lock(o replication.Object) (unlock func()) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[replication.Object]*quotaLock{}
	}
	one := l.locks[o]
	if one == nil {
		one = &quotaLock{}
		l.locks[o] = one
	}
	one.users++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.locks, o)
		}
	}
}

// dividing is how quotas are divided, by the router's own rights.
func dividing(state *feed.State) (replication.Quotas, error) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return replication.Quotas{}, err
	}
	return replication.Quotas{
		RCP: rcp.Dynamic(), Snapshot: state.Snapshot,
		Client: func(cell string) (dynamic.Interface, error) {
			plane, err := state.ControlPlane(cell)
			if err != nil {
				return nil, err
			}
			return plane.Dynamic(), nil
		},
	}, nil
}

func quotaNamed(namespace, name string) replication.Object {
	return replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: namespace, Name: name}
}

// pushQuota divides a quota that was just written, and returns a line for each cell that failed.
func pushQuota(ctx context.Context, state *feed.State, o replication.Object) (out []string) {
	q, err := dividing(state)
	if err != nil {
		return []string{err.Error()}
	}
	settled, err := q.Settle(ctx, o, nil)
	if err != nil {
		return []string{fmt.Sprintf("%s is not divided: %v", o, err)}
	}
	for _, cell := range state.Snapshot.Table.Cells() {
		if err := settled.Failures[cell]; err != nil {
			out = append(out, fmt.Sprintf("cell %s is not up to date: %v", cell, err))
		}
	}
	return out
}

// room looks for room for a write that a cell refuses, until it is known that there is none, or the time is up.
type room struct {
	ctx    context.Context
	cancel context.CancelFunc
	pause  time.Duration
}

func (m *room) end() {
	if m.cancel != nil {
		m.cancel()
	}
}

// make is true where the write is to be sent again: other cells have given of their parts, or are about to, or the cell
// has room that it has not seen yet. Else the exchange has the answer. Where all cells together have no room that is a
// refusal with their numbers; where the parts do not follow in time, one after which clients come again by themselves.
func (m *room) make(x *exchange, state *feed.State) (again bool) {
	if x.over == nil && !x.busy || x.plane.Name() == route.RCP {
		return false
	}
	first := m.cancel == nil
	if first && (!mutates(x.r.Method) || x.h.denied(x.r)) {
		return false // it is refused for another reason, in words that look like a quota's
	}
	if first {
		m.ctx, m.cancel = context.WithTimeout(x.r.Context(), roomTimeout)
		m.pause = roomPause
	}
	if x.over != nil && m.ask(x, state) == noRoom {
		return false
	}
	if first {
		return true
	}
	select {
	case <-m.ctx.Done():
		if x.over != nil {
			x.refusal = route.NoRoomYet(x.info, x.over.Quota)
		}
		return false
	case <-time.After(m.pause):
	}
	m.pause = min(2*m.pause, slowestRoomPause)
	return true
}

// outlook is what is known of room for a write.
type outlook int

const (
	// mayFit says that there is room, or that nobody could tell yet.
	mayFit outlook = iota
	// noRoom says that all cells that can be asked have none together.
	noRoom
)

// ask has the quota divided anew so that the cell gets what the write needs. What goes wrong may be right the next
// time, but for a control plane that is down.
func (m *room) ask(x *exchange, state *feed.State) outlook {
	q, err := dividing(state)
	if err != nil {
		return noRoom
	}
	o := quotaNamed(x.info.Namespace, x.over.Quota)
	defer x.h.quotas.lock(o)()
	settled, err := q.Settle(m.ctx, o, &quota.Need{Cell: x.plane.Name(), Requested: x.over.Requested})
	switch full := errors.Is(err, replication.ErrFull); {
	case full && settled.Complete:
		x.full = refusedByAll(*x.over, settled)
		return noRoom
	case full && areDown(state, slices.Collect(maps.Keys(settled.Failures))):
		return noRoom // nobody gets of their parts
	case err != nil && areDown(state, []string{route.RCP}):
		return noRoom
	case err == nil && !dividesAll(settled, x.over.Requested):
		return noRoom
	}
	return mayFit
}

// areDown says whether there are control planes among these, and none of them can be used.
func areDown(state *feed.State, names []string) bool {
	for _, name := range names {
		if plane, err := state.ControlPlane(name); err == nil && plane.Down() == nil {
			return false
		}
	}
	return len(names) > 0
}

// dividesAll says whether other cells could give of all that is requested. Of a quota that is gone nothing is.
func dividesAll(settled replication.Settled, requested corev1.ResourceList) bool {
	for name := range requested {
		if _, divided := settled.Hard[name]; !divided && settled.Hard != nil {
			return false
		}
	}
	return true
}

// refusedByAll is a refusal with the numbers of all cells in the place of one cell's.
func refusedByAll(by quota.Refusal, settled replication.Settled) *quota.Refusal {
	out := quota.Refusal{Quota: by.Quota, Requested: by.Requested, Used: corev1.ResourceList{}, Limited: corev1.ResourceList{}}
	for name := range by.Requested {
		hard, divided := settled.Hard[name]
		if !divided {
			return nil
		}
		out.Limited[name], out.Used[name] = hard, settled.Used[name]
	}
	return &out
}

// refuse answers in the words of an apiserver, whose quota is that of all cells.
func (x *exchange) refuse(w http.ResponseWriter) {
	x.discard()
	x.h.fail(w, x.r, apierrors.NewForbidden(schema.GroupResource{Group: x.info.APIGroup, Resource: x.info.Resource}, x.info.Name, errors.New(x.full.String())))
}

// busyQuota says whether a create failed because the quota was written at the same time, several times over: an
// apiserver says 409 with the quota's name then. The object was not made.
func busyQuota(info *request.RequestInfo, body []byte) bool {
	return info.Resource != "resourcequotas" && bytes.Contains(body, []byte(metav1.StatusReasonConflict)) &&
		bytes.Contains(body, []byte("Operation cannot be fulfilled on resourcequotas "))
}

// withTotals has the RCP show what all cells use of quotas that are about to be read: the backup daemon does so as
// well, a moment after each change. It is done for the quotas of one namespace. What fails leaves what was shown.
func (h *handler) withTotals(r *http.Request, state *feed.State, info *request.RequestInfo) {
	if !readsQuotas(info) || !replicated(state, info) || h.denied(r) {
		return
	}
	q, err := dividing(state)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), totalTimeout)
	defer cancel()
	read := []string{info.Name}
	if info.Verb == "list" {
		list, err := q.RCP.Resource(corev1.SchemeGroupVersion.WithResource("resourcequotas")).Namespace(info.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return
		}
		read = nil
		for i := range list.Items {
			read = append(read, list.Items[i].GetName())
		}
	}
	var telling sync.WaitGroup
	for _, name := range read {
		telling.Go(func() {
			o := quotaNamed(info.Namespace, name)
			if used, all, err := q.Total(ctx, o); err == nil && all {
				_ = q.Tell(ctx, o, used) // the backup daemon says it otherwise
			}
		})
	}
	telling.Wait()
}

func readsQuotas(info *request.RequestInfo) bool {
	return info.IsResourceRequest && info.APIGroup == "" && info.Resource == "resourcequotas" && info.Namespace != "" &&
		(info.Verb == "get" || info.Verb == "list") && (info.Subresource == "" || info.Subresource == "status")
}

func replicated(state *feed.State, info *request.RequestInfo) bool {
	class, _ := state.Snapshot.Classes.Of(info.APIGroup, info.Resource, info.Namespace)
	return class == placement.Replicated
}
