package route

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// RetryAfterSeconds is how long a client is asked to wait where a retry can help.
const RetryAfterSeconds = 1

func refuse(err *apierrors.StatusError) Route {
	return Route{Action: Refuse, Refusal: err}
}

// Unavailable is the answer for a key whose control plane cannot be used: 503 with its name.
func Unavailable(source, why string) *apierrors.StatusError {
	what := "cell " + source
	if source == RCP {
		what = "the router control plane"
	}
	err := apierrors.NewServiceUnavailable(what + " does not answer: " + why)
	err.ErrStatus.Details = retryDetails()
	return err
}

func unplaced() *apierrors.StatusError {
	err := apierrors.NewServiceUnavailable("the federation has no cells yet: its Ring has no current layout")
	err.ErrStatus.Details = retryDetails()
	return err
}

func moving(info *request.RequestInfo, p placement.Placement) *apierrors.StatusError {
	err := apierrors.NewTooManyRequests("moving from cell "+p.Old()+" to cell "+p.New(), RetryAfterSeconds)
	err.ErrStatus.Details.Name = info.Name
	err.ErrStatus.Details.Group = info.APIGroup
	err.ErrStatus.Details.Kind = info.Resource
	return err
}

func retryDetails() *metav1.StatusDetails {
	return &metav1.StatusDetails{RetryAfterSeconds: RetryAfterSeconds}
}
