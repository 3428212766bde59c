package router

import (
	"net/http"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// versioned says whether the resource versions of a resource's objects are rewritten: wherever its
// objects may come from several control planes. It goes by the resource alone, since one list over all
// namespaces shows those of the system's own as well.
func versioned(info *request.RequestInfo, snap *routing.Snapshot) bool {
	if !info.IsResourceRequest {
		return false
	}
	class, _ := snap.Classes.Of(info.APIGroup, info.Resource, "")
	return class == placement.Sharded || class == placement.Local || class == placement.Dependent
}

// single serves a request for one object from the one control plane that has it.
func (h *handler) single(w http.ResponseWriter, r *http.Request, state *feed.State, _ *request.RequestInfo, source string) {
	h.forward(w, r, state, source)
}
