package federation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

const (
	// OldestVersion of a cell is the first in which ValidatingAdmissionPolicy, the fence, is stable. Why older ones are refused,
	// and newer ones that do not serve it are not, is in docs/adr/0018-cells-from-1-30-on.md.
	OldestVersion = "1.30.0"
	// maxSkew is the largest difference between the clocks of a cell and the RCP. Tokens and
	// certificates tolerate minutes; grace periods and lags are compared to the second.
	maxSkew = 10 * time.Second
)

// Check is one thing that was found to be as it must be.
type Check struct {
	// Name is what was checked, such as "reachable".
	Name string `json:"name"`
	// Detail is what was found, such as "12ms".
	Detail string `json:"detail"`
	// Warning is true where the cell can be used, but somebody should look at it.
	Warning bool `json:"warning,omitempty"`
}

// inspection is a cell that passed all checks.
type inspection struct {
	cell         NewCell // with the kubeconfig filled in
	goal         goal
	config       *rest.Config
	endpoints    []*rest.Config // the ways to each apiserver of the cell, of which config is the first
	connection   *connection
	controlPlane string
	version      string
	// stored is the Cell of that name, nil where there is none.
	stored *v1alpha1.Cell
	checks []Check
}

func (i *inspection) passed(name, format string, args ...any) {
	i.checks = append(i.checks, Check{Name: name, Detail: fmt.Sprintf(format, args...)})
}

func (i *inspection) warn(name, format string, args ...any) {
	i.checks = append(i.checks, Check{Name: name, Detail: fmt.Sprintf(format, args...), Warning: true})
}

// checkCell does every check of a cell, and writes nothing. The first that fails is the error.
func (c *connection) checkCell(ctx context.Context, cell NewCell, goal goal) (*inspection, error) {
	if err := cell.check(); err != nil {
		return nil, err
	}
	i := &inspection{cell: cell, goal: goal}
	others, err := c.cells(ctx)
	if err != nil {
		return nil, err
	}
	if i.stored = others[cell.Name]; len(cell.Kubeconfig) == 0 {
		if i.cell.Kubeconfig, err = c.storedKubeconfig(ctx, i.stored, cell.Name); err != nil {
			return nil, err
		}
	}
	configs, err := i.cell.configs()
	if err != nil {
		return nil, err
	}
	i.config, i.endpoints = configs[0], configs
	if err := c.checkEndpoints(ctx, i, configs); err != nil {
		return nil, err
	}
	if err := c.checkIdentity(ctx, i, others); err != nil {
		return nil, err
	}
	if err := i.checkRights(ctx); err != nil {
		return nil, err
	}
	if err := c.checkDefinitions(ctx, i); err != nil {
		return nil, err
	}
	return i, nil
}

// checkEndpoints checks that every endpoint answers, is new enough, has the right time, and belongs
// to one control plane that takes the credentials.
func (c *connection) checkEndpoints(ctx context.Context, i *inspection, configs []*rest.Config) error {
	here, err := Probe(ctx, c.config)
	if err != nil {
		return fmt.Errorf("ask the router control plane for its time: %w", err)
	}
	for n, config := range configs {
		health, err := Probe(ctx, config)
		if err != nil {
			return unreachable(i.cell.Name, config.Host, err)
		}
		if found, err := version.ParseSemantic(health.Version); err != nil || found.LessThan(version.MustParseSemantic(OldestVersion)) {
			return exit.Refusedf("cell %s runs Kubernetes %s; it must be %s or newer", i.cell.Name, health.Version, OldestVersion).
				WithHint("upgrade the control plane: earlier ones cannot refuse writes to a workload while it moves")
		}
		if skew := health.Skew(here); skew > maxSkew {
			return exit.Refusedf("the clock of cell %s is %s off that of the router control plane; at most %s is allowed",
				i.cell.Name, skew.Round(time.Second), maxSkew).
				WithHint("set the clocks by NTP, on both sides")
		}
		asker, err := connect(withTimeout(config))
		if err != nil {
			return err
		}
		id, err := asker.controlPlaneID(ctx)
		if err != nil {
			return unreachable(i.cell.Name, config.Host, err)
		}
		if n > 0 {
			if id != i.controlPlane {
				return exit.Refusedf("endpoints %s and %s of cell %s are two different control planes", configs[0].Host, config.Host, i.cell.Name).
					WithHint("add each control plane as a cell of its own")
			}
			continue
		}
		i.connection, i.controlPlane, i.version = asker, id, health.Version
		i.passed("reachable", "%s", max(time.Millisecond, health.Latency.Round(time.Millisecond)))
		i.passed("version", "%s", health.Version)
		i.passed("clock skew", "%s", describeSkew(health.Skew(here)))
	}
	return nil
}

func describeSkew(skew time.Duration) string {
	if skew < time.Second {
		return "<1s"
	}
	return skew.Round(time.Second).String()
}

func withTimeout(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Timeout = probeTimeout
	return config
}

// unreachable says in which of the usual ways an apiserver cannot be used.
func unreachable(cell, host string, err error) error {
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch {
	case apierrors.IsUnauthorized(err):
		return exit.Errorf(exit.Failure, "cell %s: %s does not accept the credentials: %w", cell, host, err).
			WithHint("kubectl --kubeconfig FILE auth whoami")
	case apierrors.IsForbidden(err):
		return exit.Refusedf("cell %s: the credentials may not use it: %w", cell, err).
			WithHint("kubectl --kubeconfig FILE auth can-i --list   # the credentials of a cell need cluster-admin in it")
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &certificate):
		return exit.Errorf(exit.Failure, "cell %s: %s does not show a certificate that the kubeconfig trusts: %w", cell, host, err).
			WithHint("kubectl --kubeconfig FILE version   # certificate-authority-data must be the CA of that apiserver")
	}
	return exit.Errorf(exit.Failure, "cell %s: %s cannot be reached: %w", cell, host, err).
		WithHint("kubectl --kubeconfig FILE version   # from this machine; routers need to reach it as well")
}

// checkIdentity checks that the control plane is a cell for the first time.
func (c *connection) checkIdentity(ctx context.Context, i *inspection, others map[string]*v1alpha1.Cell) error {
	own, err := c.controlPlaneID(ctx)
	if err != nil {
		return err
	}
	if own == i.controlPlane {
		return exit.Refusedf("cell %s is the router control plane itself; a cell must be a control plane of its own", i.cell.Name).
			WithHint("kubectl cell sandbox cell add %s   # starts one on this machine", i.cell.Name)
	}
	for name, other := range others {
		id := other.Annotations[AnnotationControlPlane]
		if id == "" {
			if id, err = c.askIdentity(ctx, other); err != nil {
				i.warn("distinct", "cannot tell from %s, which does not answer", name)
				continue
			}
		}
		switch {
		case name == i.cell.Name && id != i.controlPlane:
			return anotherPlane(i)
		case name != i.cell.Name && id == i.controlPlane:
			return exit.Refusedf("cell %s and cell %s would be the same control plane", i.cell.Name, name).
				WithHint("kubectl cell status %s", name)
		}
	}
	return nil
}

// askIdentity asks a cell that was made by hand, and so has no annotation, who it is.
func (c *connection) askIdentity(ctx context.Context, cell *v1alpha1.Cell) (string, error) {
	config, err := c.cellConfig(ctx, cell)
	if err != nil {
		return "", err
	}
	asked, err := connect(withTimeout(config))
	if err != nil {
		return "", err
	}
	return asked.controlPlaneID(ctx)
}

// checkDistinct is checkIdentity between cells none of which is stored yet.
func checkDistinct(founders []*inspection) error {
	seen := map[string]string{}
	for _, f := range founders {
		if first, known := seen[f.controlPlane]; known {
			return exit.Refusedf("cell %s and cell %s would be the same control plane", f.cell.Name, first)
		}
		seen[f.controlPlane] = f.cell.Name
	}
	return nil
}
