package router

import (
	"context"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	genericfilters "k8s.io/apiserver/pkg/endpoints/filters"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// denies says whether the first of some control planes that answers would refuse the user what he asks for, so that the
// router looks for no owner with rights of its own. It is asked of who is to serve the request, and not of the RCP: that may
// hang while all cells are well, and a cell that cannot be asked cannot be written to either. The error is that nobody
// answers; then nobody may take it for a yes or a no.
func denies(ctx context.Context, r *http.Request, state *feed.State, sources ...string) (denied bool, err error) {
	review, err := accessReview(r.Context())
	if err != nil {
		return false, err
	}
	for _, source := range sources {
		var plane *upstream.ControlPlane
		if plane, err = state.ControlPlane(source); err == nil {
			denied, err = deniesBy(ctx, plane, review)
		}
		if err == nil {
			return denied, nil
		}
		err = noPlane(source, err)
	}
	return false, err
}

func deniesBy(ctx context.Context, plane *upstream.ControlPlane, review *unstructured.Unstructured) (bool, error) {
	reviews := plane.Dynamic().Resource(authorizationv1.SchemeGroupVersion.WithResource("subjectaccessreviews"))
	answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return !allowed, err
}

// accessReview asks whether the user of a request for a resource may do what it is for.
func accessReview(ctx context.Context) (*unstructured.Unstructured, error) {
	attributes, err := genericfilters.GetAuthorizerAttributes(ctx)
	if err != nil {
		return nil, err
	}
	who := attributes.GetUser()
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range who.GetExtra() {
		extra[key] = values
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authorizationv1.SchemeGroupVersion.String(), Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups(), Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: attributes.GetNamespace(), Verb: attributes.GetVerb(),
				Group: attributes.GetAPIGroup(), Version: attributes.GetAPIVersion(),
				Resource: attributes.GetResource(), Subresource: attributes.GetSubresource(), Name: attributes.GetName(),
			},
		},
	})
	return &unstructured.Unstructured{Object: content}, err
}
