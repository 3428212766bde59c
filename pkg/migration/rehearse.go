package migration

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Rehearse asks a cell whether it would make the copy of an Original that [Mover.Stage] makes: its namespace is there,
// its kind is served, no quota and no admission refuses it. Nothing is written. Owners need not be in the cell.
//
// The error is one for [Failed]; nil says that the cell would.
func (m *Mover) Rehearse(ctx context.Context, to string, original Original) error {
	c, err := m.restoring(to, original)
	if err != nil {
		return err
	}
	r, i := c.run, c.item
	i.want = r.bare(i)
	if err := adapt(i.Resource, i.want, i.give); err != nil {
		return err
	}
	for {
		body, err := r.body(i, "")
		if err != nil {
			return err
		}
		_, err = do(ctx, writing(r.to.client.Post(), body).AbsPath(i.path()).Param("dryRun", metav1.DryRunAll))
		if apierrors.IsAlreadyExists(err) {
			return r.inTheWay(ctx, i)
		}
		give := taken(i.Resource, err).or(i.give)
		if err == nil || give == i.give {
			return judge(&i.Object, r.to.Name, "create", err)
		}
		// It would be given other addresses.
		i.give = give
		if err := adapt(i.Resource, i.want, give); err != nil {
			return err
		}
	}
}

// inTheWay is an error where what has the name is neither a tombstone nor a copy: these give way.
func (r *run) inTheWay(ctx context.Context, i *item) error {
	found, err := r.to.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return judge(&i.Object, r.to.Name, "read", err)
	case found.status() == v1alpha1.Migrated || found.status() == v1alpha1.Incoming:
		return nil
	}
	return fail(Exists, &i.Object, "cell %s has an object of that name which is no copy", r.to.Name)
}
