package router

import (
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// asksForToken says whether a request asks for a token of a service account.
func asksForToken(info *request.RequestInfo) bool {
	return info.Verb == "create" && info.APIGroup == "" && info.Resource == "serviceaccounts" && info.Subresource == "token"
}

// refuseFarBound refuses a token that is to be bound to an object which is in a cell. The RCP signs tokens, and would say that
// there is no such object, to a client that sees it. What cannot be read here the RCP refuses.
func (h *handler) refuseFarBound(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) error {
	body, err := keepBody(w, r)
	if err != nil {
		return err
	}
	kind := authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
	read, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, &kind, nil)
	asked, ok := read.(*authenticationv1.TokenRequest)
	if err != nil || !ok || asked.Spec.BoundObjectRef == nil {
		return nil //nolint:nilerr // see above
	}
	ref := asked.Spec.BoundObjectRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	resource, _ := meta.UnsafeGuessKindToResource(gv.WithKind(ref.Kind))
	bound := &request.RequestInfo{
		IsResourceRequest: true, Verb: "get", APIGroup: resource.Group, APIVersion: resource.Version, Resource: resource.Resource,
		Namespace: info.Namespace, Name: ref.Name,
	}
	if route.Decide(bound, h.state().Snapshot).Source == route.RCP {
		return nil
	}
	return apierrors.NewInvalid(kind.GroupKind(), info.Name, field.ErrorList{
		field.Invalid(field.NewPath("spec", "boundObjectRef"), ref.Kind+"/"+ref.Name,
			"tokens are signed by the router control plane, and the object is in a cell, which that does not see; ask for a token that is not bound"),
	})
}
