package mirror

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// wantedLimit is how many objects that are new or have changed wait for their rehearsals; others are found by rounds.
	wantedLimit = 1000
	// lookEvery is how many intervals between rehearsals lie between two searches for what to rehearse in turn.
	lookEvery = 10
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

// rehearsals prove that a cell would take what its envelopes hold, one after the other: by turns what is new or has changed,
// and of the rest what was refused, then everything. Each reads the envelope, so that one which was spoiled while nobody
// looked is found as well.
type rehearsals struct {
	cell  *cell
	mover *migration.Mover
	// connected is when the cell was asked last what it serves.
	connected time.Time

	// What follows is guarded by the mirror's lock.

	// wanted are items that are new or have changed, in their order, wantedLimit at most; round are others.
	wanted, round []*item
	// looked is when it was looked for a round last, and rounds says that it comes next.
	looked time.Time
	rounds bool
}

func newRehearsals(c *cell) *rehearsals { return &rehearsals{cell: c} }

// want has an object proven whose envelope was written, unless that was done before. Where too many wait it is left to a round.
func (r *rehearsals) want(it *item, uid types.UID, generation, version int64) {
	m := r.cell.m
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known := it.proven[r.cell.name]
	now := m.config.Now()
	if known && last.uid == uid && !last.refused && (last.shape == shape(generation, version) || now.Sub(last.at) < rarely) {
		return
	}
	switch {
	case slices.Contains(r.wanted, it):
	case len(r.wanted) < wantedLimit:
		r.wanted = append(r.wanted, it)
	case !last.refused:
		delete(it.proven, r.cell.name)
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
	ticker := time.NewTicker(r.cell.m.config.RehearseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		it := r.next()
		if it == nil {
			continue
		}
		if err := r.prove(ctx, it); err != nil && ctx.Err() == nil {
			r.cell.m.config.Logger.Info("cannot rehearse the promotion of an object, trying again later", "cell", r.cell.name, "object", it.id.String(), "err", err)
		}
	}
}

// next is what to prove next, nil for nothing. A round goes through everything that was not proven of late.
func (r *rehearsals) next() *item {
	m := r.cell.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.config.Now(); len(r.round) == 0 && now.Sub(r.looked) >= lookEvery*m.config.RehearseEvery {
		r.round, r.looked = r.stale(), now
	}
	first, then := &r.wanted, &r.round
	if r.rounds = !r.rounds; r.rounds {
		first, then = then, first
	}
	if it := r.pop(first); it != nil {
		return it
	}
	return r.pop(then)
}

// pop takes the first item that still has an envelope in the cell, or is about to have one. Others cost no time.
func (r *rehearsals) pop(queue *[]*item) *item {
	for len(*queue) > 0 {
		it := (*queue)[0]
		*queue = (*queue)[1:]
		since := queue == &r.round && it.proven[r.cell.name].at.After(r.looked)
		if !since && r.cell.m.items[it.id] == it && (r.cell.index[it.name] != nil || r.cell.isBusy(it)) {
			return it
		}
	}
	return nil
}

// stale are the objects of one round, whose proofs are old: first what was refused, which is half of them at most, then
// others, in no order.
func (r *rehearsals) stale() []*item {
	m := r.cell.m
	cell, now := r.cell.name, m.config.Now()
	due := func(it *item, e *entry) bool {
		if it == nil || e == nil || e.problem != "" || !m.ours(e) {
			return false
		}
		last := it.proven[cell]
		age := now.Sub(last.at)
		return !it.rehearsedIn(cell, e.uid) || age > provenFor || last.refused && age > m.config.RefusedAgain
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
	secret, err := c.read(ctx, it)
	if secret == nil {
		return err
	}
	opened, err := envelope.Open(secret)
	if err != nil {
		c.m.spoiled(c, it, secret, err.Error())
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

// spoiled takes an envelope that does not hold what it says.
func (m *Mirror) spoiled(c *cell, it *item, secret *corev1.Secret, problem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := entryOf(secret)
	known := c.index[it.name]
	if _, busy := c.busy[it.name]; busy || known == nil || e.secretVersion != known.secretVersion || !m.ours(known) {
		return // it was written since
	}
	e.problem = problem
	c.put(it.name, e)
	m.unsettle(it, e)
	m.schedule(it, true)
}
