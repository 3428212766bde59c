package router

import (
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// visible says whether an object of a list or watch counts in the source that it came from. What a
// migration has left there, or not finished, does not.
func visible(info *request.RequestInfo, object wire.Meta, source string, snap *routing.Snapshot) bool {
	switch v1alpha1.RebalanceStatus(object.RebalanceStatus) {
	case v1alpha1.Migrated, v1alpha1.Incoming:
		return false
	}
	namespace := object.Namespace
	if namespace == "" {
		namespace = info.Namespace // a Table may leave it out
	}
	return route.Visible(info.APIGroup, info.Resource, namespace, object.Name, source, snap)
}
