package doctor

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// needed are the rights by which people work: to see the federation, and to change it.
func needed() (see, change []authorizationv1.ResourceAttributes) {
	for _, resource := range []string{"rings", "cells", "rebalances", "failovers"} {
		see = append(see, authorizationv1.ResourceAttributes{Group: v1alpha1.GroupName, Resource: resource, Verb: "list"})
		change = append(change, authorizationv1.ResourceAttributes{Group: v1alpha1.GroupName, Resource: resource, Verb: "update"})
	}
	see = append(see, authorizationv1.ResourceAttributes{Group: "coordination.k8s.io", Resource: "leases", Verb: "list", Namespace: v1alpha1.Namespace})
	change = append(change, authorizationv1.ResourceAttributes{Resource: "secrets", Verb: "get", Namespace: v1alpha1.Namespace})
	return see, change
}

// rights says what the user may do. One who only looks is no fault.
func (e *examination) rights(ctx context.Context, fed *command.Federation) {
	who := "USER"
	review, err := fed.Kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err == nil {
		who = review.Status.UserInfo.Username
	}
	see, change := needed()
	unseen, err := missing(ctx, fed, see)
	if err != nil {
		e.failed("rights", err)
		return
	}
	unchanged, err := missing(ctx, fed, change)
	if err != nil {
		e.failed("rights", err)
		return
	}
	grant := func(role string) string {
		return fmt.Sprintf("kubectl create clusterrolebinding %[1]s-1 --clusterrole=%[1]s --user=%[2]q && kubectl -n %[3]s create rolebinding %[1]s-1 --role=%[1]s --user=%[2]q",
			role, who, v1alpha1.Namespace)
	}
	switch {
	case len(unseen) > 0:
		e.found(Failed, "rights", fmt.Sprintf("%s may not %s", who, strings.Join(unseen, ", ")), grant(federation.RoleViewer))
	case len(unchanged) > 0:
		e.found(Warning, "rights", fmt.Sprintf("%s may look, but not %s", who, strings.Join(unchanged, ", ")), grant(federation.RoleAdmin))
	default:
		e.ok("rights", "%s may see and change the federation", who)
	}
}

func missing(ctx context.Context, fed *command.Federation, rights []authorizationv1.ResourceAttributes) ([]string, error) {
	var out []string
	for _, right := range rights {
		review, err := fed.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask for rights: %w", err)
		}
		if !review.Status.Allowed {
			out = append(out, right.Verb+" "+right.Resource)
		}
	}
	return out, nil
}
