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
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// connection is the way to the RCP.
type connection struct {
	rcp    *rest.Config
	kube   kubernetes.Interface
	client *client.Client
	now    func() time.Time
	// clock is that of the RCP.
	clock  *lease.Clock
	opened opened
}

func connect(rcp *rest.Config) (*connection, error) {
	config := rest.CopyConfig(rcp)
	config.QPS, config.Burst = -1, -1
	clock := &lease.Clock{}
	config.Wrap(clock.Watch)
	kube, kubecell, err := client.Connect(config)
	if err != nil {
		return nil, err
	}
	return &connection{rcp: config, kube: kube, client: kubecell, now: time.Now, clock: clock}, nil
}

func (c *connection) readRing(ctx context.Context) (*v1alpha1.Ring, error) {
	ring, err := c.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, federation.NotInitialised()
	case ctx.Err() == nil && unanswered(err) != nil:
		return nil, exit.Errorf(exit.Failure, "%w; nothing was begun", unanswered(err)).WithHint("bring it back first: docs/runbooks/rcp.md")
	case err != nil:
		return nil, fmt.Errorf("read ring: %w", err)
	}
	return ring, nil
}

// NoRCPError says that nobody can read or change the ring, which is in a router control plane that does not answer. The
// caller may say what goes on without it, and try again once it is back.
type NoRCPError struct {
	Err error
	// Router says that a router has answered, in the place of its control plane.
	Router bool
}

func (e *NoRCPError) Error() string {
	if e.Router {
		return e.Err.Error()
	}
	return "the router control plane does not answer: " + e.Err.Error()
}

// Unwrap returns what the question came to.
func (e *NoRCPError) Unwrap() error { return e.Err }

// unanswered is the error of a question that nobody has answered but a router for its control plane, nil for others.
func unanswered(err error) error {
	router := apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err)
	if err == nil || !router && apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		return nil
	}
	return &NoRCPError{Err: err, Router: router}
}
