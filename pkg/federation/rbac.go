package federation

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Names of the roles that [Init] installs.
const (
	// RoleViewer may see the federation.
	RoleViewer = "kubecell-viewer"
	// RoleAdmin may change it.
	RoleAdmin = "kubecell-admin"
	// RoleRouter is what a router needs at the RCP. It is bound to [GroupRouters].
	RoleRouter = "kubecell-router"
	// GroupRouters is the group in a router's client certificate for the RCP.
	GroupRouters = "kubecell:routers"
	// RoleBackup is what the backup daemon needs at the RCP. It is bound to [GroupBackup].
	RoleBackup = "kubecell-backup"
	// GroupBackup is the group in a backup daemon's client certificate for the RCP.
	GroupBackup = "kubecell:backup"
)

// resourceObject is a manifest and the resource it is one of.
type resourceObject struct {
	resource schema.GroupVersionResource
	object   manifest
}

// manifests are the namespace and the roles, in the order in which they can be created.
func manifests() []resourceObject {
	namespaces := corev1.SchemeGroupVersion.WithResource("namespaces")
	clusterRoles := rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	clusterRoleBindings := rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")
	roles := rbacv1.SchemeGroupVersion.WithResource("roles")
	roleBindings := rbacv1.SchemeGroupVersion.WithResource("rolebindings")
	return []resourceObject{
		{namespaces, &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: meta("", v1alpha1.Namespace)}},
		{clusterRoles, clusterRole(RoleViewer, rule(v1alpha1.GroupName, read(), "*"))},
		{clusterRoles, clusterRole(RoleAdmin, rule(v1alpha1.GroupName, []string{"*"}, "*"),
			rule("", []string{"create"}, "events"), rule("", read(), "resourcequotas"))},
		{clusterRoles, clusterRole(RoleRouter, routerRules()...)},
		{clusterRoleBindings, &rbacv1.ClusterRoleBinding{
			TypeMeta: rbacType("ClusterRoleBinding"), ObjectMeta: meta("", RoleRouter),
			RoleRef: roleRef("ClusterRole", RoleRouter), Subjects: group(GroupRouters),
		}},
		{clusterRoles, clusterRole(RoleBackup, backupRules()...)},
		{clusterRoleBindings, &rbacv1.ClusterRoleBinding{
			TypeMeta: rbacType("ClusterRoleBinding"), ObjectMeta: meta("", RoleBackup),
			RoleRef: roleRef("ClusterRole", RoleBackup), Subjects: group(GroupBackup),
		}},
		{roles, role(RoleAdmin, rule("", []string{"*"}, "secrets", "configmaps"), rule("coordination.k8s.io", []string{"*"}, "leases"))},
		{roles, role(RoleViewer, rule("coordination.k8s.io", read(), "leases"))},
		{roles, role(RoleRouter,
			rule("", read(), "secrets"),
			rule("", append(read(), "create", "update", "delete"), "configmaps"), // the records of quotas
			rule("coordination.k8s.io", append(read(), "create", "update", "patch", "delete"), "leases"))},
		{roleBindings, &rbacv1.RoleBinding{
			TypeMeta: rbacType("RoleBinding"), ObjectMeta: meta(v1alpha1.Namespace, RoleRouter),
			RoleRef: roleRef("Role", RoleRouter), Subjects: group(GroupRouters),
		}},
		{roles, role(RoleBackup,
			rule("", read(), "secrets"),
			rule("", append(read(), "create", "update", "delete"), "configmaps"), // the records of quotas, the marks of the backup
			rule("coordination.k8s.io", append(read(), "create", "update", "patch"), "leases"))},
		{roleBindings, &rbacv1.RoleBinding{
			TypeMeta: rbacType("RoleBinding"), ObjectMeta: meta(v1alpha1.Namespace, RoleBackup),
			RoleRef: roleRef("Role", RoleBackup), Subjects: group(GroupBackup),
		}},
	}
}

// routerRules are a router's rights over the whole RCP: to know who asks and what they may do, to
// know the ring, and to forward what is not sharded in the name of the one who asks. The sources of
// Replicated objects are read, so that a write can be pushed to the cells before it is answered.
func routerRules() []rbacv1.PolicyRule {
	out := []rbacv1.PolicyRule{
		rule("authentication.k8s.io", []string{"create"}, "tokenreviews"),
		rule("authorization.k8s.io", []string{"create"}, "subjectaccessreviews"),
		rule(v1alpha1.GroupName, read(), "rings", "cells", "rebalances", "failovers"),
		rule("", []string{"impersonate"}, "users", "groups", "serviceaccounts"),
		// All of the group: "uids", and "userextras/KEY" for keys that nobody can list beforehand. RBAC
		// knows no "userextras/*".
		rule("authentication.k8s.io", []string{"impersonate"}, "*"),
	}
	return append(out, replicatedRules()...)
}

// backupRules are the backup daemon's rights over the whole RCP: to know the ring and the cells, to
// read the sources of Replicated objects, to say on those that wait for cells which ones, and to say on
// cells how their copies stand.
func backupRules() []rbacv1.PolicyRule {
	out := []rbacv1.PolicyRule{
		rule(v1alpha1.GroupName, read(), "rings", "cells", "rebalances", "failovers"),
		rule(v1alpha1.GroupName, []string{"patch"}, "cells/status"),
		// A failover takes the cell out of the wanted ring as well.
		rule(v1alpha1.GroupName, []string{"update"}, "rings", "rings/status", "rebalances/status", "failovers/status"),
		rule(v1alpha1.GroupName, []string{"patch"}, "rebalances"),
		rule("", []string{"create"}, "events"),
		rule("", []string{"patch"}, "namespaces/status"),
		rule("apiextensions.k8s.io", []string{"patch"}, "customresourcedefinitions/status"),
	}
	return append(out, replicatedRules()...)
}

// replicatedRules allow to read the sources of Replicated objects, to set the finalizer of those that wait for
// cells, and to say on quotas what all cells use.
func replicatedRules() []rbacv1.PolicyRule {
	out := []rbacv1.PolicyRule{
		rule("", []string{"patch"}, "namespaces"),
		rule("", []string{"update"}, "resourcequotas/status"),
		rule("apiextensions.k8s.io", []string{"patch"}, "customresourcedefinitions"),
	}
	for _, r := range placement.DefaultRules() {
		if r.Class == placement.Replicated {
			out = append(out, rule(r.Group, read(), r.Resource))
		}
	}
	return out
}

func read() []string { return []string{"get", "list", "watch"} }

func rule(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

func clusterRole(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{TypeMeta: rbacType("ClusterRole"), ObjectMeta: meta("", name), Rules: rules}
}

func role(name string, rules ...rbacv1.PolicyRule) *rbacv1.Role {
	return &rbacv1.Role{TypeMeta: rbacType("Role"), ObjectMeta: meta(v1alpha1.Namespace, name), Rules: rules}
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func group(name string) []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}}
}

func rbacType(kind string) metav1.TypeMeta { return typeMeta(rbacv1.SchemeGroupVersion.String(), kind) }

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels: map[string]string{"app.kubernetes.io/part-of": "kubecell"},
	}
}

// objectName is "<kind>/<name>" in lower case.
func objectName(u *unstructured.Unstructured) string {
	return strings.ToLower(u.GetKind()) + "/" + u.GetName()
}
