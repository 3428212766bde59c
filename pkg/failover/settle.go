package failover

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// settle saves the copies of the returned cell's objects that could not be promoted, and deletes them: once the cell is
// available again the backup takes them for copies of objects that are no more.
func (r *returning) settle(ctx context.Context, cell string, config *rest.Config) error {
	c, err := connect(config)
	if err != nil {
		return err
	}
	files := quarantine{r.Dir}
	secrets := c.kube.CoreV1().Secrets(v1alpha1.Namespace)
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + r.Cell, Limit: pageSize / 10}
	for {
		page, err := secrets.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list envelopes in cell %s: %w", cell, err)
		}
		for i := range page.Items {
			secret := &page.Items[i]
			kept := v1alpha1.FailoverKept{Object: Key("", "secrets", v1alpha1.Namespace, secret.Name), Cell: cell, Reason: "Corrupt"}
			if opened, err := envelope.Open(secret); err == nil {
				if err := files.keep(opened); err != nil {
					return err
				}
				kept.Object, kept.Reason = Key(opened.Group, opened.Resource, opened.Namespace, opened.Name), "NotPromoted"
			} else {
				kept.Message = err.Error()
			}
			err := secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete envelope %s in cell %s: %w", secret.Name, cell, err)
			}
			r.progress.edit(func(s *v1alpha1.FailoverStatus) {
				if s.KeptObjects++; len(s.Kept) < maxKept {
					s.Kept = append(s.Kept, kept)
				}
			})
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}
