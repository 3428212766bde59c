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
	return r.eachEnvelope(ctx, cell, config, v1alpha1.LabelSourceCell+"="+r.Cell, func(*envelope.Envelope) (bool, error) { return true, nil })
}

// settleHere deletes the envelopes that the returned cell has of others. They are as old as its failover. Most objects
// have had new copies elsewhere since; of one that is in no cell, since its own was failed over as well, this may be all
// there is: it is saved.
func (r *returning) settleHere(ctx context.Context, ring *v1alpha1.Ring, config *rest.Config) error {
	c, err := r.comparison(ctx, ring)
	if err != nil {
		return err
	}
	return r.eachEnvelope(ctx, r.Cell, config, v1alpha1.LabelBackupCell, func(e *envelope.Envelope) (save bool, err error) {
		resource := migration.Resource{GroupVersionResource: e.GroupVersionResource(), Kind: e.Kind}
		there, err := c.there(ctx, migration.Object{Resource: resource, Namespace: e.Namespace, Name: e.Name})
		return there == nil, err
	})
}

// eachEnvelope deletes the envelopes in a cell that a selector names, in the version that was read. Those that are to be
// saved, or cannot be opened, are named in the record.
func (r *returning) eachEnvelope(ctx context.Context, cell string, config *rest.Config, selector string, save func(*envelope.Envelope) (bool, error)) error {
	c, err := connect(config)
	if err != nil {
		return err
	}
	secrets := c.kube.CoreV1().Secrets(v1alpha1.Namespace)
	options := metav1.ListOptions{LabelSelector: selector, Limit: openPage}
	for {
		page, err := secrets.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list envelopes in cell %s: %w", cell, err)
		}
		for i := range page.Items {
			secret := &page.Items[i]
			if err := r.keep(cell, secret, save); err != nil {
				return err
			}
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

// keep saves the object in an envelope that is about to be deleted, where it is to be saved, and names it in the record.
func (r *returning) keep(cell string, secret *corev1.Secret, save func(*envelope.Envelope) (bool, error)) error {
	kept := v1alpha1.FailoverKept{Object: Key("", "secrets", v1alpha1.Namespace, secret.Name), Cell: cell, Reason: "Corrupt"}
	if opened, err := envelope.Open(secret); err == nil {
		wanted, err := save(opened)
		if err != nil || !wanted {
			return err
		}
		if err := (quarantine{r.Dir, r.Cell}).keep(opened); err != nil {
			return err
		}
		kept.Object, kept.Reason = Key(opened.Group, opened.Resource, opened.Namespace, opened.Name), "NotPromoted"
	} else {
		kept.Message = err.Error()
	}
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		if s.KeptObjects++; len(s.Kept) < maxKept {
			s.Kept = append(s.Kept, kept)
		}
	})
	return nil
}
