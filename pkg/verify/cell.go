package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// CellState is whether a cell was read.
type CellState string

// The states of a cell.
const (
	Checked CellState = "checked"
	// Unreachable: it did not answer, at the beginning or later. Nothing is said of what depends on it.
	Unreachable CellState = "unreachable"
	// FailedOver: it must not be used. A failback compares it with the others.
	FailedOver CellState = "failed over"
)

// CheckedCell is a cell and what was read of it.
type CheckedCell struct {
	Cell    string    `json:"cell"`
	State   CellState `json:"state"`
	Message string    `json:"message,omitempty"`
}

// cell is one that is read.
type cell struct {
	*migration.Cell
	secrets typedcorev1.SecretInterface
	meta    metadata.ResourceInterface // of the secrets
}

// connect connects to all cells that may be asked.
func (v *verifier) connect(ctx context.Context, unavailable []string) error {
	access, err := federation.Cells(ctx, v.options.RCP)
	if err != nil {
		return err
	}
	for _, name := range v.ringCells {
		if _, known := access[name]; !known {
			access[name] = federation.Access{Err: errors.New("it is in the ring, and there is no such Cell")}
		}
	}
	var asking sync.WaitGroup
	for name, a := range access {
		if slices.Contains(unavailable, name) {
			v.states[name] = CheckedCell{Cell: name, State: FailedOver, Message: "compare it: kubectl cell failback " + name + " --dry-run"}
			continue
		}
		v.states[name] = CheckedCell{Cell: name, State: Checked}
		asking.Go(func() {
			c, err := v.connectOne(name, a)
			if err != nil {
				v.lose(name, err)
				return
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.cells[name] = c
		})
	}
	asking.Wait()
	return ctx.Err()
}

func (v *verifier) connectOne(name string, access federation.Access) (*cell, error) {
	if access.Err != nil {
		return nil, access.Err
	}
	config := fence.AsMover(access.Config)
	config.QPS, config.Burst, config.Timeout = -1, -1, migration.RequestTimeout
	config.WarningHandler = rest.NoWarnings{}
	if v.options.WrapCell != nil {
		v.options.WrapCell(name, config)
	}
	c, err := migration.Connect(name, config)
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	meta, err := metadata.NewForConfig(metadata.ConfigFor(config))
	if err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	return &cell{
		Cell: c, secrets: kube.CoreV1().Secrets(v1alpha1.Namespace),
		meta: meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(v1alpha1.Namespace),
	}, nil
}

// lose stops asking a cell.
func (v *verifier) lose(name string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.cells, name)
	v.states[name] = CheckedCell{Cell: name, State: Unreachable, Message: err.Error()}
}

// alive are the cells that answer, by name.
func (v *verifier) alive() map[string]*cell {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.cells)
}

func (v *verifier) readable() map[string]bool {
	out := map[string]bool{}
	for name := range v.alive() {
		out[name] = true
	}
	return out
}

// look reads what the cell has of an object, nil for nothing.
func (c *cell) look(ctx context.Context, at ref) (*record, error) {
	resource, served := c.Preferred(at.resource)
	if !served {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	meta, err := c.Look(ctx, migration.Object{Resource: resource, Namespace: at.namespace, Name: at.name})
	if err != nil || meta == nil {
		return nil, err
	}
	return &record{resource: resource, meta: meta}, nil
}

// open reads an envelope and opens it, nil for none.
func (c *cell) open(ctx context.Context, name string) (*sealed, error) {
	secret, err := c.secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read envelope %s: %w", name, err)
	}
	s := sealedOf(secret)
	if _, err := envelope.Open(secret); s.problem == "" && err != nil {
		s.problem = err.Error()
	}
	return s, nil
}

// sealedOf reads the metadata of an envelope.
func sealedOf(secret metav1.Object) *sealed {
	s := &sealed{name: secret.GetName(), uid: string(secret.GetUID()), version: secret.GetResourceVersion()}
	var err error
	if s.header, err = envelope.HeaderOf(secret); err != nil {
		s.problem = err.Error()
	}
	return s
}

// content reads an object, nil for none.
func (c *cell) content(ctx context.Context, at ref) (*unstructured.Unstructured, error) {
	resource, served := c.Preferred(at.resource)
	if !served {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	body, err := c.Raw(ctx, migration.Object{Resource: resource, Namespace: at.namespace, Name: at.name})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, err
	}
	out := &unstructured.Unstructured{}
	return out, out.UnmarshalJSON(body)
}
