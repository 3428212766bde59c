package federation

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// Access is a cell and how to reach it.
type Access struct {
	Cell v1alpha1.Cell
	// Config is nil where Err says why there is none.
	Config *rest.Config
	// Endpoints are the ways to each apiserver of the cell by itself, as far as the Cell knows them.
	Endpoints []*rest.Config
	Err       error
}

// Cells reads all Cells and their credentials from the RCP, by name. It asks no cell. A cell whose
// credentials are missing or broken is there, with its error.
func Cells(ctx context.Context, rcp *rest.Config) (map[string]Access, error) {
	c, err := connect(rcp)
	if err != nil {
		return nil, err
	}
	all, err := c.cells(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Access, len(all))
	for name, cell := range all {
		out[name] = c.access(ctx, cell)
	}
	return out, nil
}

// cells are the Cells by name; none where the control plane does not know the kind yet.
func (c *connection) cells(ctx context.Context) (map[string]*v1alpha1.Cell, error) {
	list, err := c.cell.Cells().List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, passOn("list cells", err)
	}
	out := make(map[string]*v1alpha1.Cell, len(list.Items))
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out, nil
}

func (c *connection) access(ctx context.Context, cell *v1alpha1.Cell) Access {
	out := Access{Cell: *cell}
	kubeconfig, err := c.kubeconfig(ctx, cell)
	if err != nil {
		out.Err = err
		return out
	}
	if out.Config, out.Endpoints, out.Err = cells.Ways(cell, kubeconfig); out.Err != nil {
		return out
	}
	for _, config := range append(out.Endpoints, out.Config) {
		config.Wrap(lease.Guard)
	}
	return out
}

func (c *connection) cellConfig(ctx context.Context, cell *v1alpha1.Cell) (*rest.Config, error) {
	kubeconfig, err := c.kubeconfig(ctx, cell)
	if err != nil {
		return nil, err
	}
	return cells.Config(cell, kubeconfig)
}

func (c *connection) kubeconfig(ctx context.Context, cell *v1alpha1.Cell) ([]byte, error) {
	secret, err := c.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(ctx, cell.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read credentials of cell %s: %w", cell.Name, err)
	}
	return secret.Data[v1alpha1.KubeconfigKey], nil
}

// storedKubeconfig is the kubeconfig of a cell that is named without one.
func (c *connection) storedKubeconfig(ctx context.Context, cell *v1alpha1.Cell, name string) ([]byte, error) {
	missing := exit.Usagef("cell %s is not stored yet; give its kubeconfig", name).
		WithHint("kubectl cell init --founder %s=FILE", name)
	if cell == nil {
		return nil, missing
	}
	secret, err := c.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(ctx, cell.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && len(secret.Data[v1alpha1.KubeconfigKey]) == 0 {
		return nil, missing
	}
	if err != nil {
		return nil, passOn("read credentials of cell "+name, err)
	}
	return secret.Data[v1alpha1.KubeconfigKey], nil
}
