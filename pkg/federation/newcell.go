package federation

import (
	"errors"
	"fmt"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// NewCell is a cell as somebody wants to add it.
type NewCell struct {
	// Name is a DNS label, at most 63 characters.
	Name string
	// Kubeconfig is self-contained: certificates and tokens, no files, no programs. Empty means
	// the one that is stored for the cell, which then has to be there.
	Kubeconfig []byte
	// Weight is 1 to 1000. 0 means: as it is, or 100 for a cell that is new to the ring.
	Weight int32
	// Labels are set on the Cell; those that are not named here are left.
	Labels map[string]string
	// Endpoints are https URLs of the cell's apiservers; empty leaves them as they are.
	Endpoints []string
}

// weight is the weight for a cell that has none yet.
func (n NewCell) weight() int32 {
	if n.Weight == 0 {
		return placement.DefaultWeight
	}
	return n.Weight
}

// check finds what is wrong without asking any server.
func (n NewCell) check() error {
	if err := placement.ValidateCellName(n.Name); err != nil {
		return exit.Usagef("%w", err).WithHint("kubectl cell add cell-1 --kubeconfig FILE")
	}
	if n.Weight != 0 {
		if err := CheckWeight(n.Weight); err != nil {
			return err
		}
	}
	if errs := validation.ValidateLabels(n.Labels, field.NewPath("labels")); len(errs) > 0 {
		return exit.Usagef("%w", errs.ToAggregate())
	}
	for _, endpoint := range n.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return exit.Usagef("endpoint %q is not a URL that begins with https://, such as https://10.0.0.1:6443", endpoint)
		}
	}
	if len(n.Kubeconfig) == 0 {
		return nil
	}
	_, err := n.configs()
	return err
}

// configs are the client configurations of the cell, one for each endpoint.
func (n NewCell) configs() ([]*rest.Config, error) {
	config, err := cells.ParseKubeconfig(n.Kubeconfig)
	switch {
	case errors.Is(err, cells.ErrUnsafeKubeconfig):
		return nil, exit.Usagef("cell %s: %w", n.Name, err).
			WithHint("use a client certificate or a token: kubectl --kubeconfig FILE config view --raw --minify --flatten   # a program cannot be flattened; kubectl -n kube-system create token SERVICEACCOUNT makes a token")
	case err != nil:
		return nil, exit.Usagef("cell %s: %w", n.Name, err).
			WithHint("kubectl --kubeconfig FILE version   # shows whether kubectl can use the file")
	}
	if len(n.Endpoints) == 0 {
		return []*rest.Config{config}, nil
	}
	var out []*rest.Config
	for _, endpoint := range n.Endpoints {
		c := rest.CopyConfig(config)
		c.Host = endpoint
		out = append(out, c)
	}
	return out, nil
}

// secretName is the name of the Secret that keeps a cell's kubeconfig.
func secretName(cell string) string { return "cell-" + cell }

// object is the Cell before anything else was said about it.
func (n NewCell) object(controlPlane string) *v1alpha1.Cell {
	cell := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: n.Name}}
	n.fill(cell, controlPlane)
	return cell
}

// fill makes cell what n says and reports whether that changed it.
func (n NewCell) fill(cell *v1alpha1.Cell, controlPlane string) (changed bool) {
	set := func(m *map[string]string, key, value string) {
		if *m == nil {
			*m = map[string]string{}
		}
		if (*m)[key] != value {
			(*m)[key], changed = value, true
		}
	}
	set(&cell.Annotations, AnnotationControlPlane, controlPlane)
	for key, value := range n.Labels {
		set(&cell.Labels, key, value)
	}
	if len(n.Endpoints) > 0 && fmt.Sprint(cell.Spec.Endpoints) != fmt.Sprint(n.Endpoints) {
		cell.Spec.Endpoints, changed = n.Endpoints, true
	}
	if cell.Spec.KubeconfigSecretRef.Name == "" {
		cell.Spec.KubeconfigSecretRef.Name, changed = secretName(n.Name), true
	}
	return changed
}
