package status

import (
	"context"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Router is a registered router.
type Router struct {
	Name string `json:"name"`
	// Epoch that it serves; 0 where it does not say.
	Epoch int64 `json:"epoch"`
	// Renewed is when it last showed a sign of life; zero where it never did.
	Renewed time.Time `json:"renewed"`
}

// routers reads the registered routers. Without the right to read Leases there are none to show.
func routers(ctx context.Context, kube kubernetes.Interface) ([]Router, error) {
	list, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routers: %w", err)
	}
	out := []Router{}
	for i := range list.Items {
		out = append(out, newRouter(&list.Items[i]))
	}
	return out, nil
}

func newRouter(lease *coordinationv1.Lease) Router {
	r := Router{Name: lease.Name}
	// A number that is none is shown as unknown, not as an error of the whole status.
	r.Epoch, _ = strconv.ParseInt(lease.Annotations[v1alpha1.AnnotationEpoch], 10, 64)
	if lease.Spec.RenewTime != nil {
		r.Renewed = lease.Spec.RenewTime.Time
	}
	return r
}
