package failover

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// connection is the way to the RCP.
type connection struct {
	rcp    *rest.Config
	kube   kubernetes.Interface
	client *client.Client
	now    func() time.Time
}

func connect(rcp *rest.Config) (*connection, error) {
	config := rest.CopyConfig(rcp)
	config.QPS, config.Burst = -1, -1
	kube, kubecell, err := client.Connect(config)
	if err != nil {
		return nil, err
	}
	return &connection{rcp: config, kube: kube, client: kubecell, now: time.Now}, nil
}

func (c *connection) readRing(ctx context.Context) (*v1alpha1.Ring, error) {
	ring, err := c.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, exit.Errorf(exit.Failure, "this control plane has no Ring %q: it is not a router control plane, or not initialised", v1alpha1.RingName).
			WithHint("kubectl cell init")
	case err != nil && ctx.Err() == nil && !isStatus(err):
		return nil, exit.Errorf(exit.Failure, "the router control plane does not answer, and a failover changes the ring in it: %w", err).
			WithHint("bring it back first: routers serve with the ring that they have until then, and keys of the dead cell are answered with 503")
	case err != nil:
		return nil, fmt.Errorf("read ring: %w", err)
	}
	return ring, nil
}

// isStatus says whether an apiserver has answered.
func isStatus(err error) bool { return apierrors.ReasonForError(err) != metav1.StatusReasonUnknown }
