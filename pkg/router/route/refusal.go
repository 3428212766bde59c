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

// Unregistered is the answer to a write through a router that no change of the Ring is known to wait for: its
// configuration may be of an epoch that is over. Clients come again by themselves.
func Unregistered() *apierrors.StatusError {
	err := apierrors.NewServiceUnavailable("this router is not registered with the router control plane, which may have moved workloads " +
		"without it: it serves reads, and takes writes once it has registered")
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
	return later(info, "the object moves to another cell, please try again")
}

// NoRoomYet is the answer to a write that a cell's part of a quota does not admit, where nobody could tell in time
// whether all cells together have room for it: 429, since clients come again by themselves.
func NoRoomYet(info *request.RequestInfo, quota string) *apierrors.StatusError {
	return later(info, "the parts of quota "+quota+" have not followed what is used yet, please try again")
}

func later(info *request.RequestInfo, why string) *apierrors.StatusError {
	err := apierrors.NewTooManyRequests(why, RetryAfterSeconds)
	err.ErrStatus.Details.Name = info.Name
	err.ErrStatus.Details.Group = info.APIGroup
	err.ErrStatus.Details.Kind = info.Resource
	return err
}

func retryDetails() *metav1.StatusDetails {
	return &metav1.StatusDetails{RetryAfterSeconds: RetryAfterSeconds}
}
