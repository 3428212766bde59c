package replication

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// Object names one Replicated object.
type Object struct {
	Resource schema.GroupVersionResource
	// Namespace is empty for a cluster-scoped object.
	Namespace string
	Name      string
}

func (o Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.Resource.Resource + " " + name
}

func (o Object) in(client dynamic.Interface) dynamic.ResourceInterface {
	if o.Namespace == "" {
		return client.Resource(o.Resource)
	}
	return client.Resource(o.Resource).Namespace(o.Namespace)
}

// Cell is the cell that a copy is for.
type Cell struct {
	Name string
	// Client has the rights of an administrator of the Replicated resources in the cell.
	Client dynamic.Interface
	// Shares of all cells in what is divided among them.
	Shares Shares
}

// Excluded says whether an object stays in the RCP although its class is Replicated: this project's
// own definitions, which cells must not serve, and what has the name of a part of the cells' fence,
// of which each cell has its own.
func Excluded(o Object) bool {
	return IsDefinition(o) && strings.HasSuffix(o.Name, "."+v1alpha1.GroupName) ||
		fence.Owns(o.Resource.GroupResource(), o.Name)
}

// IsDefinition says whether an object is a CustomResourceDefinition.
func IsDefinition(o Object) bool {
	return o.Resource.Group == "apiextensions.k8s.io" && o.Resource.Resource == "customresourcedefinitions"
}

func isNamespace(o Object) bool {
	return o.Resource.Group == "" && o.Resource.Resource == "namespaces"
}

// WaitsForCells says whether the source of o has the finalizer [v1alpha1.FinalizerCells]: other
// objects go with its copies, and it must outlive them. The namespaces that every control plane makes
// for itself are exempt: a control plane makes them again, or refuses to delete them at all.
func WaitsForCells(o Object) bool {
	if isNamespace(o) {
		return !slices.Contains([]string{
			metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, "kube-node-lease", v1alpha1.Namespace,
		}, o.Name)
	}
	return IsDefinition(o) && !Excluded(o)
}
