package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/quota"
)

const (
	// rehearseEvery is the time between two rehearsals in a cell: two requests each.
	rehearseEvery = 100 * time.Millisecond
	// provenFor is how long a rehearsal proves something of an object that does not change: namespaces, definitions,
	// quotas and admission do.
	provenFor = time.Hour
	// rarely is the time between two rehearsals of one object, however often it changes.
	rarely = time.Minute
	// refusedAgain is when a refusal is looked into again.
	refusedAgain = 30 * time.Second
	// roundLength is how many objects are rehearsed in turn before it is looked again for what was refused.
	roundLength = 100
	// reconnectEvery bounds how often a cell is asked what it serves.
	reconnectEvery = 30 * time.Second
)

// proof is what a cell was seen to accept.
type proof struct {
	uid types.UID
	// shape is the generation, or the version of what has none.
	shape int64
	at    time.Time
	// refused says that it was not accepted.
	refused bool
}

// rehearsals prove that a cell would take what its envelopes hold, one after the other: first what is new or has
// changed, then what was refused, then everything in turn. Each reads the envelope, so that one which was spoiled while
// nobody looked is found as well.
type rehearsals struct {
	cell  *cell
	mover *migration.Mover
	// connected is when the cell was asked last what it serves.
	connected time.Time

	mu sync.Mutex // guards what follows
	// wanted are the items that come first, in their order.
	wanted []*item
	queued map[*item]bool
}

func newRehearsals(c *cell) *rehearsals { return &rehearsals{cell: c, queued: map[*item]bool{}} }

// want has an object proven whose envelope was written, unless that was done before.
func (r *rehearsals) want(it *item, uid types.UID, generation, version int64) {
	r.cell.m.mu.Lock()
	last, known := it.proven[r.cell.name]
	r.cell.m.mu.Unlock()
	now := r.cell.m.config.Now()
	if known && last.uid == uid && !last.refused && (last.shape == shape(generation, version) || now.Sub(last.at) < rarely) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.queued[it] {
		r.queued[it] = true
		r.wanted = append(r.wanted, it)
	}
}

func shape(generation, version int64) int64 {
	if generation > 0 {
		return generation
	}
	return version
}

// run proves until ctx ends.
func (r *rehearsals) run(ctx context.Context) {
	var round []*item
	ticker := time.NewTicker(r.cell.m.config.RehearseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		it := r.next(&round)
		if it == nil {
			continue
		}
		if err := r.prove(ctx, it); err != nil && ctx.Err() == nil {
			r.cell.m.config.Logger.Info("cannot rehearse the promotion of an object, trying again later", "cell", r.cell.name, "object", it.id.String(), "err", err)
		}
	}
}

// next is what to prove next, nil for nothing. A round goes through everything that was not proven of late.
func (r *rehearsals) next(round *[]*item) *item {
	r.mu.Lock()
	if len(r.wanted) > 0 {
		it := r.wanted[0]
		r.wanted = r.wanted[1:]
		delete(r.queued, it)
		r.mu.Unlock()
		return it
	}
	r.mu.Unlock()
	if len(*round) == 0 {
		*round = r.stale()
	}
	if len(*round) == 0 {
		return nil
	}
	it := (*round)[0]
	*round = (*round)[1:]
	return it
}

// stale are the objects of one round, whose proofs are old: first what was refused, which is half of them at most, then
// others, in no order.
func (r *rehearsals) stale() []*item {
	m := r.cell.m
	m.mu.Lock()
	defer m.mu.Unlock()
	cell, now := r.cell.name, m.config.Now()
	due := func(it *item, e *entry) bool {
		if it == nil || e == nil || e.problem != "" || !m.ours(e) {
			return false
		}
		last := it.proven[cell]
		age := now.Sub(last.at)
		return age > provenFor || last.refused && age > m.config.RefusedAgain
	}
	var out []*item
	for it := range m.suspects {
		if it.refusedIn(cell) && due(it, r.cell.index[it.name]) {
			if out = append(out, it); len(out) == roundLength/2 {
				break
			}
		}
	}
	for name, e := range r.cell.index {
		if it := m.envelopes[name]; due(it, e) && !it.refusedIn(cell) {
			if out = append(out, it); len(out) == roundLength {
				break
			}
		}
	}
	return out
}

// prove reads an envelope and asks the cell whether it would take the object in it.
func (r *rehearsals) prove(ctx context.Context, it *item) error {
	c := r.cell
	if err := c.pace.wait(ctx); err != nil {
		return err
	}
	secret, err := c.secrets.Get(ctx, it.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the envelope: %w", err)
	}
	opened, err := envelope.Open(secret)
	if err != nil {
		c.m.found(c, it, secret, err.Error())
		return nil
	}
	why, err := r.ask(ctx, opened)
	if err != nil {
		return err
	}
	r.judge(it, opened, why)
	return nil
}

// ask returns why the cell would refuse the object in an envelope, nil where it would not. The error says that nobody
// knows.
func (r *rehearsals) ask(ctx context.Context, opened *envelope.Envelope) (refused *migration.Result, err error) {
	if err := r.connect(false); err != nil {
		return nil, err
	}
	resource, served := r.mover.Cells[r.cell.name].Served(opened.Group, opened.Version, opened.Kind)
	if !served {
		if err := r.connect(true); err != nil {
			return nil, err
		}
		if resource, served = r.mover.Cells[r.cell.name].Served(opened.Group, opened.Version, opened.Kind); !served {
			return &migration.Result{Outcome: migration.NoKind, Message: "the cell does not serve " + opened.GroupVersionResource().String()}, nil
		}
	}
	if err := r.cell.pace.wait(ctx); err != nil {
		return nil, err
	}
	began := r.cell.m.config.Now()
	err = r.mover.Rehearse(ctx, r.cell.name, migration.Original{Cell: opened.SourceCell, Resource: resource, Body: opened.Object})
	if err == nil {
		r.cell.pace.observe(r.cell.m.config.Now().Sub(began), nil)
		return nil, nil //nolint:nilnil // it is not refused
	}
	failed := migration.Failed(err)
	if failed.Outcome == migration.Unavailable {
		r.cell.pace.observe(r.cell.m.config.Now().Sub(began), err)
		return nil, err
	}
	if r.findsRoom(ctx, opened.Namespace, err) {
		return nil, nil //nolint:nilnil // it is not refused for good
	}
	return &failed, nil
}

// findsRoom says whether the cell has refused the object for want of a part of a divided quota alone: a failover makes room in
// that.
func (r *rehearsals) findsRoom(ctx context.Context, namespace string, refusal error) bool {
	refused, ok := quota.ParseRefusal([]byte(refusal.Error()))
	if !ok {
		return false
	}
	copied, err := r.cell.meta.Resource(corev1.SchemeGroupVersion.WithResource("resourcequotas")).Namespace(namespace).Get(ctx, refused.Quota, metav1.GetOptions{})
	return err == nil && copied.Annotations[v1alpha1.AnnotationQuotaPart] != ""
}

func (r *rehearsals) connect(again bool) error {
	now := r.cell.m.config.Now()
	if r.mover != nil && (!again || now.Sub(r.connected) < reconnectEvery) {
		return nil
	}
	cell, err := migration.Connect(r.cell.name, r.cell.config)
	if err != nil {
		return err
	}
	r.mover = &migration.Mover{Cells: map[string]*migration.Cell{r.cell.name: cell}, Epoch: 1}
	r.connected = now
	return nil
}

// judge takes what the cell says.
func (r *rehearsals) judge(it *item, opened *envelope.Envelope, why *migration.Result) {
	m := r.cell.m
	m.mu.Lock()
	p := proof{uid: opened.UID, at: m.config.Now(), refused: why != nil}
	for _, record := range it.records {
		if record.uid == opened.UID {
			p.shape = shape(record.generation, record.version)
		}
	}
	it.note(r.cell.name, p)
	m.mu.Unlock()
	if why == nil {
		m.config.Metrics.rehearsals.WithLabelValues(r.cell.name, "accepted").Inc()
		m.accept(it, r.cell.name)
		return
	}
	m.config.Metrics.rehearsals.WithLabelValues(r.cell.name, "refused").Inc()
	m.refuse(it, &refusal{
		uid: opened.UID, version: versionOf(opened.ResourceVersion), cell: r.cell.name, reason: Refused, stored: true,
		message: string(why.Outcome) + ": " + why.Message,
	})
}

// found takes an envelope that does not hold what it says.
func (m *Mirror) found(c *cell, it *item, secret *corev1.Secret, problem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := entryOf(secret)
	known := c.index[it.name]
	if _, busy := c.busy[it.name]; busy || known == nil || e.secretVersion != known.secretVersion || !m.ours(known) {
		return // it was written since
	}
	e.problem = problem
	c.index[it.name] = e
	m.unsettle(it, e)
	m.schedule(it, true)
}
