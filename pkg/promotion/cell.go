package promotion

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// pageSize is how many envelopes one request asks for.
const pageSize = 500

// Cell is a cell with envelopes. It may be used by many goroutines at once.
type Cell struct {
	*migration.Cell
	secrets typedcorev1.SecretInterface
	// meta writes envelopes without their objects being sent back.
	meta metadata.ResourceInterface
	// plain asks for what is no resource.
	plain rest.Interface
}

// Connect asks the cell what it serves. config is that of the mover.
func Connect(name string, config *rest.Config) (*Cell, error) {
	inner, err := migration.Connect(name, config)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	config.Timeout = migration.RequestTimeout
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client for cell %s: %w", name, err)
	}
	kube, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("build client for cell %s: %w", name, err)
	}
	meta, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	if err != nil {
		return nil, fmt.Errorf("build metadata client for cell %s: %w", name, err)
	}
	return &Cell{
		Cell: inner, secrets: kube.CoreV1().Secrets(v1alpha1.Namespace),
		meta:  meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(v1alpha1.Namespace),
		plain: kube.Discovery().RESTClient(),
	}, nil
}

// started says by nil that the cell's apiserver is ready: one that starts may refuse what it will allow, and not know what it
// will serve. Where the question itself is refused nothing is known against the cell.
func (c *Cell) started(ctx context.Context) error {
	err := c.plain.Get().AbsPath("/readyz").Do(ctx).Error()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// EachFrom visits the envelopes in the cell of another one's objects, a page at a time, in no order. One that changes
// meanwhile may be shown as it was: promoting it finds out.
func (c *Cell) EachFrom(ctx context.Context, source string, visit func(*corev1.Secret)) error {
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + source, Limit: pageSize}
	for {
		page, err := c.secrets.List(ctx, options)
		if err != nil {
			return fmt.Errorf("list envelopes in cell %s: %w", c.Name, err)
		}
		for i := range page.Items {
			visit(&page.Items[i])
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// commit says on an envelope which object was made of it, unless the envelope has changed. It returns its new version.
func (c *Cell) commit(ctx context.Context, secret *corev1.Secret, made types.UID) (version string, err error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": secret.UID, "resourceVersion": secret.ResourceVersion,
		"annotations": map[string]string{v1alpha1.AnnotationPromoted: string(made)},
	}})
	if err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	committed, err := c.meta.Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.MoverFieldManager})
	if err != nil {
		return "", err
	}
	return committed.ResourceVersion, nil
}

// drop deletes an envelope. version "" means any.
func (c *Cell) drop(ctx context.Context, secret metav1.Object, version string) error {
	preconditions := metav1.Preconditions{UID: new(secret.GetUID())}
	if version != "" {
		preconditions.ResourceVersion = &version
	}
	return c.meta.Delete(ctx, secret.GetName(), metav1.DeleteOptions{Preconditions: &preconditions})
}
