package migration

import (
	"context"
	"encoding/json"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// desired is the copy as it has to be, without marks: the source but for what a server sets, with the
// owners that the new cell has.
func (r *run) desired(ctx context.Context, i *item) (*document, error) {
	d := r.bare(i)
	if err := r.mapOwners(ctx, i, d.owners); err != nil {
		return nil, err
	}
	return d, adapt(i.Resource, d, i.give)
}

// bare is the same with the owners of the old cell, and with what means something there alone.
func (*run) bare(i *item) *document {
	d := i.source.clone()
	d.meta = map[string]json.RawMessage{}
	for _, name := range []string{"name", "namespace", "generateName", "finalizers"} {
		if raw, there := i.source.meta[name]; there {
			d.meta[name] = raw
		}
	}
	d.unmark()
	delete(d.annotations, v1alpha1.AnnotationPlacementEpoch)
	if i.Resource.Status {
		delete(d.fields, "status")
	}
	return d
}

// mapOwners gives owners the UIDs of the new cell.
func (r *run) mapOwners(ctx context.Context, i *item, owners []metav1.OwnerReference) error {
	for n := range owners {
		owner := &owners[n]
		if uid, inside := r.newUID(owner.UID); inside {
			owner.UID = uid
			continue
		}
		missing := func(why string) error {
			return fail(OwnerMissing, &i.Object, "its owner %s %s %s", owner.Kind, owner.Name, why)
		}
		resource, served := r.to.kind(owner.APIVersion, owner.Kind)
		if !served {
			return missing("is of a kind that cell " + r.to.Name + " does not serve")
		}
		found, err := r.to.get(ctx, &Object{Resource: resource, Namespace: i.Namespace, Name: owner.Name})
		switch {
		case apierrors.IsNotFound(err):
			return missing("is neither part of the unit nor in cell " + r.to.Name)
		case err != nil:
			return judge(&i.Object, r.to.Name, "read its owner", err)
		case found.status() != "" || found.deleting():
			return missing("does not count in cell " + r.to.Name + ": it is moving, or being deleted")
		}
		owner.UID = found.uid()
	}
	return nil
}

// body is what is sent: the copy with its marks. version is that of the object to replace, if any.
func (r *run) body(i *item, version string) ([]byte, error) {
	d := i.want.clone()
	marks, err := r.copyMarks(i)
	if err != nil {
		return nil, err
	}
	if d.labels == nil {
		d.labels = map[string]string{}
	}
	d.labels[v1alpha1.LabelRebalanceStatus] = string(v1alpha1.Incoming)
	if d.annotations == nil {
		d.annotations = map[string]string{}
	}
	for name, value := range marks {
		d.annotations[name] = value
	}
	if version != "" {
		if d.meta["resourceVersion"], err = encode(version); err != nil {
			return nil, err
		}
	}
	return d.encode()
}

// copyMarks are the annotations of the copy that say what it is one of.
func (r *run) copyMarks(i *item) (map[string]string, error) {
	content, err := i.want.content()
	if err != nil {
		return nil, err
	}
	marks := map[string]string{
		v1alpha1.AnnotationPlacementEpoch: r.epoch(),
		v1alpha1.AnnotationFromCell:       r.unit.From,
		v1alpha1.AnnotationFromUID:        string(i.source.uid()),
		v1alpha1.AnnotationFromVersion:    i.source.version(),
		v1alpha1.AnnotationContentHash:    content.hash(),
	}
	if len(i.source.finalizers()) > 0 || len(i.source.owners) > 0 {
		fields, err := i.source.managedFields()
		if err != nil {
			return nil, err
		}
		marks[v1alpha1.AnnotationManagedFields] = string(fields)
	}
	return marks, nil
}

// upToDate says whether an earlier copy, or the one of this call, is what would be made now.
func (r *run) upToDate(i *item) (bool, error) {
	if r.shared {
		// Another one has made it of the same version, and may have committed to it: it must not be made anew.
		return i.copy.status() == v1alpha1.Incoming && i.copy.annotations[v1alpha1.AnnotationFromVersion] == i.source.version(), nil
	}
	marks, err := r.copyMarks(i)
	if err != nil || i.copy.status() != v1alpha1.Incoming {
		return false, err
	}
	for _, name := range []string{v1alpha1.AnnotationPlacementEpoch, v1alpha1.AnnotationManagedFields} {
		if i.copy.annotations[name] != marks[name] {
			return false, nil
		}
	}
	at, err := r.difference(i)
	return at == "", err
}

// difference is the path of the first field in which the copy differs from what it has to be.
func (r *run) difference(i *item) (string, error) {
	want, err := i.want.content()
	if err != nil {
		return "", err
	}
	made := i.copy.clone()
	if err := adapt(i.Resource, made, i.give); err != nil {
		return "", err
	}
	got, err := made.content()
	if err != nil {
		return "", err
	}
	return want.difference(got), nil
}

// complete writes the status where that is a request of its own, and verifies the copy. It is not done
// where somebody changed the copy meanwhile.
func (r *run) complete(ctx context.Context, i *item) (done bool, err error) {
	r.learn(i)
	status := i.source.fields["status"]
	if i.Resource.Status && differ("status", status, i.copy.fields["status"]) != "" {
		if done, err := r.state(ctx, i, status); !done || err != nil {
			return false, err
		}
	}
	at, err := r.difference(i)
	if err != nil {
		return false, err
	}
	if at == "" {
		at = differ("status", status, i.copy.fields["status"])
	}
	if at != "" {
		return false, fail(Changed, &i.Object, "cell %s made something else of %s", r.to.Name, at)
	}
	r.step(Verified, &i.Object)
	return true, nil
}

func (r *run) state(ctx context.Context, i *item, status json.RawMessage) (done bool, err error) {
	d := i.copy.clone()
	delete(d.meta, "managedFields")
	if d.fields["status"] = status; status == nil {
		delete(d.fields, "status")
	}
	body, err := d.encode()
	if err != nil {
		return false, err
	}
	stated, err := r.to.update(ctx, &i.Object, body, "status")
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, judge(&i.Object, r.to.Name, "write status", err)
	}
	i.copy = stated
	r.step(Stated, &i.Object)
	return true, nil
}
