package verify

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	// hunted is how many envelopes of buckets that differ are held at once.
	hunted = 20_000
	// fullPage is how many envelopes with their data one request asks for. Each may take a mebibyte.
	fullPage = 50
)

// scan reads all objects. What looks wrong is a suspect, and what envelopes there have to be is summed up.
func (v *verifier) scan(ctx context.Context, w *world, d *digests, compare bool) error {
	for refused := range w.backup.refused {
		if v.options.Namespace == "" || v.options.Namespace == refused.namespace {
			if err := v.suspect(ctx, suspect{ref: refused.ref}); err != nil {
				return err
			}
		}
	}
	return v.merge(ctx, w, func(s *sighting) error {
		v.result.Objects++
		v.tell("reading " + s.resource.String())
		unowned := v.resolve(ctx, w, s)
		for _, r := range s.records {
			v.uids.add(r.meta.UID)
		}
		j := w.judge(s)
		if unowned || len(j.findings) > 0 {
			return v.suspect(ctx, suspect{ref: s.ref})
		}
		if compare {
			w.expect(s, &j, func(home string, c content) { d.add(d.wanted, home, c) })
		}
		return nil
	})
}

// resolve finds the units of dependents, and says whether one may have lost its owners.
func (v *verifier) resolve(ctx context.Context, w *world, s *sighting) (unowned bool) {
	if s.class != placement.Dependent {
		return false
	}
	for name, r := range s.records {
		c := v.alive()[name]
		if c == nil {
			continue
		}
		unit, err := v.unitOf(ctx, w, c, r.meta, 0)
		if err != nil {
			v.lose(name, err)
			continue
		}
		r.unit = unit
		lost := len(r.meta.OwnerReferences) > 0
		for i := range r.meta.OwnerReferences {
			lost = lost && !v.uids.has(r.meta.OwnerReferences[i].UID)
		}
		unowned = unowned || lost && live(r.meta)
	}
	return unowned
}

const (
	// maxOwners bounds how far owners are followed, rememberedUnits how many of them are remembered.
	maxOwners       = 16
	rememberedUnits = 4096
)

// unitOf is the key of the unit that a dependent belongs to: that of its owner, or its own name where none tells.
func (v *verifier) unitOf(ctx context.Context, w *world, c *cell, meta *metav1.PartialObjectMetadata, depth int) (string, error) {
	own := placement.NamespacedName.Key(meta.Namespace, meta.Name)
	if unit := meta.Annotations[v1alpha1.AnnotationUnit]; unit != "" && statusOf(meta) != "" {
		return unit, nil
	}
	owner := controller(meta)
	if owner == nil || depth == maxOwners {
		return own, nil
	}
	resource, served := c.OwnerResource(*owner)
	if !served {
		return own, nil
	}
	namespace := meta.Namespace
	if !resource.Namespaced {
		namespace = ""
	}
	class, rule := w.snap.Classes.Of(resource.Group, resource.GroupVersionResource.Resource, namespace)
	switch class {
	case placement.Sharded:
		return rule.Key(namespace, owner.Name), nil
	case placement.Dependent:
	default:
		return own, nil
	}
	if unit, known := v.remembered(owner.UID); known {
		return unit, nil
	}
	found, err := c.Look(ctx, migration.Object{Resource: resource, Namespace: namespace, Name: owner.Name})
	if err != nil {
		return "", fmt.Errorf("read the owner of %s: %w", keyOf(meta), err)
	}
	if found == nil || found.UID != owner.UID {
		return own, nil
	}
	unit, err := v.unitOf(ctx, w, c, found, depth+1)
	if err == nil {
		v.remember(owner.UID, unit)
	}
	return unit, err
}

// controller is the owner that counts, nil for none.
func controller(meta *metav1.PartialObjectMetadata) *metav1.OwnerReference {
	if owner := metav1.GetControllerOfNoCopy(meta); owner != nil || len(meta.OwnerReferences) == 0 {
		return owner
	}
	return &meta.OwnerReferences[0]
}

// expect says what envelopes an object has to have.
func (w *world) expect(s *sighting, j *judgement, tell func(home string, c content)) {
	r := s.records[j.counts]
	if !j.known || r == nil {
		return
	}
	for _, home := range w.snap.Homes(j.counts, r.unit) {
		if w.readable[home] {
			tell(home, content{name: s.envelope(), source: j.counts, unit: r.unit, uid: r.meta.UID, version: r.meta.ResourceVersion})
		}
	}
}

// compareEnvelopes reads all envelopes, and makes suspects of what is behind digests that differ.
func (v *verifier) compareEnvelopes(ctx context.Context, w *world, d *digests) error {
	err := v.eachEnvelope(ctx, func(cell, name string, s *sealed) error {
		v.result.Envelopes++
		v.tell("reading envelopes in cell " + cell)
		switch source := s.header.SourceCell; {
		case s.problem == "" && w.snap.Promoting[source]:
		case s.problem == "" && w.snap.Unavailable[source]:
			return v.suspect(ctx, suspect{ref: refOf(s)})
		default:
			d.add(d.found, cell, contentOf(name, s))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, round := range d.differ(hunted) {
		if err := v.hunt(ctx, round); err != nil {
			return err
		}
	}
	return nil
}

func contentOf(name string, s *sealed) content {
	if s.problem != "" {
		return content{name: name}
	}
	return content{name: name, source: s.header.SourceCell, unit: s.header.Unit, uid: s.header.UID, version: s.header.ResourceVersion}
}

func refOf(s *sealed) ref {
	return ref{schema.GroupResource{Group: s.header.Group, Resource: s.header.Resource}, s.header.Namespace, s.header.Name}
}

// wanting is an envelope that there has to be.
type wanting struct {
	ref
	content
}

// hunt reads everything once more, and names what is in some of the buckets and not alike on both sides.
func (v *verifier) hunt(ctx context.Context, in map[place]bool) error {
	w, err := v.observe(ctx)
	if err != nil {
		return err
	}
	type spot struct{ cell, name string }
	wanted := map[spot]wanting{}
	err = v.merge(ctx, w, func(s *sighting) error {
		v.tell("comparing " + s.resource.String())
		bucket, _ := bucketOf(s.envelope())
		v.resolve(ctx, w, s)
		j := w.judge(s)
		w.expect(s, &j, func(home string, c content) {
			if in[place{home, bucket}] {
				wanted[spot{home, c.name}] = wanting{s.ref, c}
			}
		})
		return nil
	})
	if err != nil {
		return err
	}
	err = v.eachEnvelope(ctx, func(cell, name string, s *sealed) error {
		bucket, ok := bucketOf(name)
		if ok && !in[place{cell, bucket}] {
			return nil
		}
		want, there := wanted[spot{cell, name}]
		delete(wanted, spot{cell, name})
		switch {
		case there && want.content == contentOf(name, s):
			return nil
		case there:
			return v.suspect(ctx, suspect{ref: want.ref})
		case s.problem == "":
			return v.suspect(ctx, suspect{ref: refOf(s)})
		}
		return v.suspect(ctx, suspect{cell: cell, damaged: name})
	})
	if err != nil {
		return err
	}
	for _, want := range wanted {
		if err := v.suspect(ctx, suspect{ref: want.ref}); err != nil {
			return err
		}
	}
	return nil
}

// eachEnvelope visits the envelopes of all cells, a page at a time. A cell that fails is lost.
func (v *verifier) eachEnvelope(ctx context.Context, visit func(cell, name string, s *sealed) error) error {
	for name, c := range v.alive() {
		read := c.envelopes
		if v.options.Full {
			read = c.openEnvelopes
		}
		options := metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell, Limit: v.options.PageSize}
		for {
			page, next, err := read(ctx, options)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if migration.Resume(err, &options) {
				continue
			}
			if err != nil {
				v.lose(name, err)
				break
			}
			for _, s := range page {
				if v.options.Namespace != "" && s.header.Namespace != v.options.Namespace {
					continue
				}
				if err := visit(name, s.name, s); err != nil {
					return err
				}
			}
			if options.Continue = next; next == "" {
				break
			}
		}
	}
	return nil
}

// openEnvelopes reads a page of envelopes with their data.
func (c *cell) openEnvelopes(ctx context.Context, options metav1.ListOptions) (page []*sealed, next string, err error) {
	options.Limit = min(options.Limit, fullPage)
	list, err := c.secrets.List(ctx, options)
	if err != nil {
		return nil, "", fmt.Errorf("list envelopes: %w", err)
	}
	for i := range list.Items {
		s := sealedOf(&list.Items[i])
		if _, err := envelope.Open(&list.Items[i]); s.problem == "" && err != nil {
			s.problem = err.Error()
		}
		page = append(page, s)
	}
	return page, list.Continue, nil
}

// envelopes reads a page of what envelopes say of themselves.
func (c *cell) envelopes(ctx context.Context, options metav1.ListOptions) (page []*sealed, next string, err error) {
	list, err := c.meta.List(ctx, options)
	if err != nil {
		return nil, "", fmt.Errorf("list envelopes: %w", err)
	}
	for i := range list.Items {
		page = append(page, sealedOf(&list.Items[i]))
	}
	return page, list.Continue, nil
}
