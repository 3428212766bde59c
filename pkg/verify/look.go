package verify

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	// suspectsAtOnce are looked at before more are sought, lookAtOnce at the same time.
	suspectsAtOnce = 1000
	lookAtOnce     = 8
	// looks is how often one is looked at that is another one each time.
	looks = 5
)

// suspect is what may be a finding: an object, or where damaged is not empty an envelope that says not of what it is.
type suspect struct {
	ref
	cell, damaged string
}

func (v *verifier) suspect(ctx context.Context, s suspect) error {
	if v.known[s] {
		return nil
	}
	v.known[s] = true
	if v.suspects = append(v.suspects, s); len(v.suspects) < suspectsAtOnce {
		return nil
	}
	return v.confirm(ctx)
}

// confirm looks at all suspects until two looks in a row, at one epoch, agree on each.
func (v *verifier) confirm(ctx context.Context) error {
	left := v.suspects
	v.suspects, v.known = nil, map[suspect]bool{}
	w, before, err := v.lookAll(ctx, left)
	if err != nil {
		return err
	}
	for range looks {
		left = slices.DeleteFunc(left, func(s suspect) bool { return len(before[s].findings) == 0 && !before[s].waits })
		if len(left) == 0 {
			return nil
		}
		if err := pause.For(ctx, v.options.Lag); err != nil {
			return err
		}
		again, now, err := v.lookAll(ctx, left)
		if err != nil {
			return err
		}
		if again.snap.Epoch == w.snap.Epoch {
			left = slices.DeleteFunc(left, func(s suspect) bool { return v.agreed(ctx, before[s], now[s]) })
		}
		w, before = again, now
	}
	return nil
}

// agreed takes what two looks say alike. It is false where the later one says something else.
func (v *verifier) agreed(ctx context.Context, before, now judgement) bool {
	if now.waits {
		v.result.Pending++
		v.result.Uncompared = true
	}
	other := false
	var confirmed []Finding
	for _, f := range now.findings {
		switch i := slices.IndexFunc(before.findings, func(b Finding) bool { return b.same(&f) }); {
		case i >= 0:
			confirmed = append(confirmed, f)
		case f.behind == 0:
			other = true
		}
	}
	if other {
		return false
	}
	for i := range confirmed {
		v.found(ctx, confirmed[i])
	}
	return true
}

// found keeps a finding.
func (v *verifier) found(ctx context.Context, f Finding) {
	if f.remedy == removeCopy {
		v.compareCopies(ctx, &f)
	}
	v.result.Counts[f.Class]++
	if len(v.result.Findings) == v.options.Limit {
		v.result.More++
		return
	}
	v.result.Findings = append(v.result.Findings, f)
}

// compareCopies leaves a duplicate to a person where it is not what the object that is shown is.
func (v *verifier) compareCopies(ctx context.Context, f *Finding) {
	if v.alike(ctx, f) {
		return
	}
	shown := *f.object
	if c := v.alive()[f.counts]; c != nil {
		if r, err := c.look(ctx, f.ref); err == nil && r != nil {
			shown = *r.object()
		}
	}
	f.remedy, f.Safe = byHand, false
	f.Message += "; they differ"
	f.Fix = "diff <(" + showRaw(f.counts, &shown) + ") <(" + showRaw(f.Cell, f.object) + ")   # and then: " + deleteRaw(f.Cell, f.object)
}

// alike says whether a duplicate holds the same as the object that counts.
func (v *verifier) alike(ctx context.Context, f *Finding) bool {
	cells := v.alive()
	here, there := cells[f.Cell], cells[f.counts]
	if here == nil || there == nil {
		return false
	}
	one, err := here.content(ctx, f.ref)
	if err != nil || one == nil {
		return false
	}
	other, err := there.content(ctx, f.ref)
	return err == nil && other != nil && failover.Compare(f.Cell, one, other) == failover.Identical
}

// lookAll looks at suspects by one world.
func (v *verifier) lookAll(ctx context.Context, all []suspect) (*world, map[suspect]judgement, error) {
	v.tell("looking closer")
	w, err := v.observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := make(map[suspect]judgement, len(all))
	var mu sync.Mutex // guards out
	parallel(all, func(s suspect) {
		j := v.look(ctx, w, s)
		mu.Lock()
		defer mu.Unlock()
		out[s] = j
	})
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return w, out, nil
}

// look reads all that there is of a suspect and judges it. Where a cell fails it is lost, and nothing is judged.
func (v *verifier) look(ctx context.Context, w *world, suspected suspect) judgement {
	if suspected.damaged != "" {
		return v.lookAtDamaged(ctx, suspected)
	}
	s := &sighting{ref: suspected.ref, records: map[string]*record{}, envelopes: map[string]*sealed{}}
	class, rule := w.snap.Classes.Of(s.resource.Group, s.resource.Resource, s.namespace)
	if s.class = class; class == placement.Sharded {
		s.key = rule.Key(s.namespace, s.name)
	}
	cells := v.alive()
	w = w.readBy(cells)
	for _, name := range w.order(s, cells) {
		r, err := cells[name].look(ctx, s.ref)
		if err == nil && r != nil {
			r.unit = s.key
			err = v.lookAtOwners(ctx, w, s, cells[name], r)
			s.records[name] = r
		}
		if err != nil {
			v.missed(ctx, name, err)
			return judgement{}
		}
	}
	if !w.backup.on {
		return w.judge(s)
	}
	for name, c := range cells {
		e, err := c.open(ctx, s.envelope())
		if err != nil {
			v.missed(ctx, name, err)
			return judgement{}
		}
		if e != nil {
			s.envelopes[name] = e
		}
	}
	return w.judge(s)
}

// missed loses a cell, unless it was not asked.
func (v *verifier) missed(ctx context.Context, name string, err error) {
	if ctx.Err() == nil {
		v.lose(name, err)
	}
}

// order is that in which the cells are read: where an object may arrive before where it may have left.
func (w *world) order(s *sighting, cells map[string]*cell) []string {
	place, _ := w.snap.Table.LookupKey(s.key)
	var out []string
	for name := range cells {
		if name != place.Old() && name != place.New() {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	for _, name := range []string{place.New(), place.Old()} {
		if cells[name] != nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// lookAtOwners finds the unit of a dependent, and whether all its owners are gone.
func (v *verifier) lookAtOwners(ctx context.Context, w *world, s *sighting, c *cell, r *record) (err error) {
	if s.class != placement.Dependent {
		return nil
	}
	if r.unit, err = v.unitOf(ctx, w, c, r.meta, 0); err != nil || !live(r.meta) {
		return err
	}
	for i := range r.meta.OwnerReferences {
		owner := r.meta.OwnerReferences[i]
		resource, served := c.OwnerResource(owner)
		if !served {
			return nil // nobody knows
		}
		namespace := s.namespace
		if !resource.Namespaced {
			namespace = ""
		}
		found, err := c.Look(ctx, migration.Object{Resource: resource, Namespace: namespace, Name: owner.Name})
		if err != nil {
			return err
		}
		if found != nil && found.UID == owner.UID {
			r.orphan = nil
			return nil
		}
		if r.orphan == nil {
			r.orphan = &owner
		}
	}
	return nil
}

// lookAtDamaged reads an envelope that does not say of what it is.
func (v *verifier) lookAtDamaged(ctx context.Context, s suspect) judgement {
	c := v.alive()[s.cell]
	if c == nil {
		return judgement{}
	}
	e, err := c.open(ctx, s.damaged)
	if err != nil {
		v.missed(ctx, s.cell, err)
		return judgement{}
	}
	if e == nil || e.problem == "" {
		return judgement{}
	}
	at := ref{namespace: v1alpha1.Namespace, name: s.damaged}
	at.resource.Resource = "secrets"
	return judgement{findings: []Finding{{
		Class: Orphaned, Object: at.String(), Cell: s.cell, Message: e.problem, Fix: showEnvelope(s.cell, s.damaged),
		ref: at, envelope: e, token: e.uid,
	}}}
}

// remembered is the unit of an owner that was followed before.
func (v *verifier) remembered(uid types.UID) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	unit, known := v.units[uid]
	return unit, known
}

func (v *verifier) remember(uid types.UID, unit string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.units) >= rememberedUnits {
		clear(v.units)
	}
	v.units[uid] = unit
}
