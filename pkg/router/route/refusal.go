package route

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
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

// Moving is the answer to a write of an object that is on its way from one cell to another: 429, since clients
// come again by themselves.
func Moving(info *request.RequestInfo) *apierrors.StatusError {
	err := apierrors.NewTooManyRequests("the object moves to another cell, please try again", RetryAfterSeconds)
	err.ErrStatus.Details.Name = info.Name
	err.ErrStatus.Details.Group = info.APIGroup
	err.ErrStatus.Details.Kind = info.Resource
	return err
}

func retryDetails() *metav1.StatusDetails {
	return &metav1.StatusDetails{RetryAfterSeconds: RetryAfterSeconds}
}
