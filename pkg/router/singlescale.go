package router

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// behind is the metadata of the object whose Scale is asked for, or of the pod that is to be evicted, nil where it is not
// needed. A Scale shows the version of its object and none of its annotations, so that it does not tell in which epoch that
// moved. The answer to an eviction does not tell which pod is gone.
func (h *handler) behind(r *http.Request, state *feed.State, info *request.RequestInfo, source string) (*metav1.PartialObjectMetadata, error) {
	scales := info.Subresource == "scale" && state.Snapshot.Epoch > 1 // else nothing has ever moved
	if !scales && !evicts(info) || source == route.RCP {
		return nil, nil //nolint:nilnil // nobody asks for it
	}
	if class, _ := state.Snapshot.Classes.Of(info.APIGroup, info.Resource, info.Namespace); class == placement.Local {
		return nil, nil //nolint:nilnil // it never moves
	}
	return metadataIn(r.Context(), state, info, source)
}

// mayNotPass says whether a request for the Scale of an object, or an eviction, must not be sent to where the object was
// read: it has left, or not arrived, or it is a write while it is copied. A cell cannot tell, since neither has its labels.
func mayNotPass(r *http.Request, of metav1.Object) bool {
	switch statusOf(of) {
	case "":
		return false
	case v1alpha1.Migrating:
		return mutates(r.Method)
	}
	return true
}

// moved completes the metadata of a Scale by the epoch of its object. That is the same for as long as the object is in
// the cell; one that was made anew between the two answers has another UID.
func (x *exchange) moved(m wire.Meta) wire.Meta {
	if x.of != nil && string(x.of.UID) == m.UID && m.PlacementEpoch == "" {
		m.PlacementEpoch = x.of.Annotations[v1alpha1.AnnotationPlacementEpoch]
	}
	return m
}
