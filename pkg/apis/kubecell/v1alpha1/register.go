package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all kinds in this package.
const GroupName = "kubecell.io"

// GroupVersion returns kubecell.io/v1alpha1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}
}

// AddToScheme registers the kinds of this package, and the meta kinds of its group, with s.
func AddToScheme(s *runtime.Scheme) error {
	gv := GroupVersion()
	s.AddKnownTypes(gv,
		&Ring{}, &RingList{},
		&Cell{}, &CellList{},
		&Rebalance{}, &RebalanceList{},
		&Failover{}, &FailoverList{},
	)
	metav1.AddToGroupVersion(s, gv)
	return nil
}
