package failover

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// settle saves the copies of the returned cell's objects that could not be promoted, and deletes them: once the cell is
// available again the backup takes them for copies of objects that are no more. It has to be done in every cell that the
// backup reads, in the ring or not.
func (r *returning) settle(ctx context.Context, cell string, config *rest.Config) error {
	return r.sweep().copiesOf(ctx, r.Cell, cell, config)
}

// settleHere deletes the envelopes that the returned cell has of others. They are as old as its failover. Most objects
// have had new copies elsewhere since; of one that is in no cell, since its own was failed over as well, this may be all
// there is: it is saved.
func (r *returning) settleHere(ctx context.Context, ring *v1alpha1.Ring, config *rest.Config) error {
	c, err := r.comparison(ctx, ring)
	if err != nil {
		return err
	}
	return r.sweep().each(ctx, r.Cell, config, v1alpha1.LabelBackupCell, func(e *envelope.Envelope) (save bool, err error) {
		resource := migration.Resource{GroupVersionResource: e.GroupVersionResource(), Kind: e.Kind}
		there, err := c.there(ctx, migration.Object{Resource: resource, Namespace: e.Namespace, Name: e.Name})
		return there == nil, err
	})
}

func (r *returning) sweep() *sweep {
	return &sweep{files: quarantine{r.Dir, r.Cell}, note: func(kept v1alpha1.FailoverKept) {
		r.progress.edit(func(s *v1alpha1.FailoverStatus) { noteKept(s, kept) })
	}}
}

// sweep deletes envelopes that would be in the way, and saves what may be all that is left of an object.
type sweep struct {
	files quarantine
	// note is told of those that are to be saved, once they are.
	note func(v1alpha1.FailoverKept)
	// dryRun saves and deletes none; spare saves, and deletes none.
	dryRun, spare bool
	// deleted says that there was one to delete.
	deleted bool
}

// copiesOf does so with all copies of a cell's objects that another cell has.
func (s *sweep) copiesOf(ctx context.Context, source, cell string, config *rest.Config) error {
	return s.each(ctx, cell, config, v1alpha1.LabelSourceCell+"="+source, func(*envelope.Envelope) (bool, error) { return true, nil })
}

// each deletes the envelopes in a cell that a selector names, in the version that was read.
func (s *sweep) each(ctx context.Context, cell string, config *rest.Config, selector string, save func(*envelope.Envelope) (bool, error)) error {
	secrets, err := secretsIn(config)
	if err != nil {
		return err
	}
	options := metav1.ListOptions{LabelSelector: selector, Limit: openPage}
	for {
		page, err := secrets.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list envelopes in cell %s: %w", cell, err)
		}
		for i := range page.Items {
			secret := &page.Items[i]
			if err := s.keep(cell, secret, save); err != nil {
				return err
			}
			if s.dryRun || s.spare {
				continue
			}
			s.deleted = true
			err := secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete envelope %s in cell %s: %w", secret.Name, cell, err)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// keep saves the object in an envelope that is about to be deleted, where it is to be saved, and names it. One that cannot
// be opened is saved as it is: nobody knows what is in it.
func (s *sweep) keep(cell string, secret *corev1.Secret, save func(*envelope.Envelope) (bool, error)) error {
	kept := v1alpha1.FailoverKept{Object: Key("", "secrets", v1alpha1.Namespace, secret.Name), Cell: cell, Reason: "Corrupt"}
	opened, err := envelope.Open(secret)
	if err != nil {
		kept.Message = err.Error()
		return s.saved(kept, func() error { return s.files.keepSealed(cell, secret) })
	}
	if wanted, err := save(opened); err != nil || !wanted {
		return err
	}
	kept.Object, kept.Reason = Key(opened.Group, opened.Resource, opened.Namespace, opened.Name), "NotPromoted"
	return s.saved(kept, func() error { return s.files.keep(opened) })
}

// saved names what is kept, once it is in a file.
func (s *sweep) saved(kept v1alpha1.FailoverKept, save func() error) error {
	if !s.dryRun {
		if err := save(); err != nil {
			return err
		}
	}
	s.note(kept)
	return nil
}
