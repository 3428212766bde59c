// Package v1alpha1 is the API group kubecell.io/v1alpha1: Ring, Cell, Rebalance and Failover.
//
// The four kinds are cluster-scoped and live in the router control plane (RCP) alone; cells never
// see them. Ring.spec and Cell.spec belong to the administrator, every status to the programs of
// this project. Ring.status.current says where data lives: routers place by it, whatever the spec
// wants.
//
// The CustomResourceDefinitions in config/crd are generated from the markers in this package, and
// their CEL rules are the only validation of objects that are edited by hand.
//
// +kubebuilder:object:generate=true
// +groupName=kubecell.io
package v1alpha1
