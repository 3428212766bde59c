package router

import (
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// evicts says whether a request is to evict a pod. It is made like a create, and is a deletion of the pod.
func evicts(info *request.RequestInfo) bool {
	return info.Verb == "create" && info.APIGroup == "" && info.Resource == "pods" && info.Subresource == "eviction"
}

// triesToEvict says whether an eviction only asks what would become of it, by its body. One that cannot be read is refused
// by the cell.
func triesToEvict(w http.ResponseWriter, r *http.Request) bool {
	body, err := keepBody(w, r)
	if err != nil {
		return true
	}
	kind := policyv1.SchemeGroupVersion.WithKind("Eviction")
	read, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, &kind, nil)
	if err != nil {
		return true
	}
	var options *metav1.DeleteOptions
	switch eviction := read.(type) {
	case *policyv1.Eviction:
		options = eviction.DeleteOptions
	case *policyv1beta1.Eviction:
		options = eviction.DeleteOptions
	}
	return options != nil && len(options.DryRun) > 0
}

// evicted is an eviction that a cell has accepted as the deletion that it is. The answer says nothing of the pod, which is
// as it was before; nil where that is not known.
func evicted(info *request.RequestInfo, pod *metav1.PartialObjectMetadata) (*request.RequestInfo, answered) {
	var said answered
	if pod != nil {
		said.meta = wire.Meta{Name: pod.Name, UID: string(pod.UID), Deleting: len(pod.Finalizers) > 0}
	}
	return deleting(info, wire.Meta{Name: info.Name, Namespace: info.Namespace}), said
}
