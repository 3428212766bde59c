package fence

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// RoleMover is the name of the movers' ClusterRole and of its binding.
const RoleMover = "kubecell-mover"

// AsMover returns a configuration that acts as the mover, whom the fence lets through. config has
// the credentials that were given to `add`: they may impersonate.
func AsMover(config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.Impersonate = rest.ImpersonationConfig{UserName: v1alpha1.UserMover, Groups: []string{v1alpha1.GroupMovers}}
	return out
}

// moverRole allows everything. A workload may be of any kind, of definitions that nobody knows
// beforehand, and is moved with all it has: roles and their bindings among what depends on it, which one
// may write only with the rights in them, and owner references that block a deletion, for which one
// needs the right to set the finalizers of the owner.
func moverRole() *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   typeMeta(rbacv1.SchemeGroupVersion, "ClusterRole"),
		ObjectMeta: objectMeta(RoleMover),
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{rbacv1.APIGroupAll}, Resources: []string{rbacv1.ResourceAll}, Verbs: []string{rbacv1.VerbAll},
		}},
	}
}

func moverBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   typeMeta(rbacv1.SchemeGroupVersion, "ClusterRoleBinding"),
		ObjectMeta: objectMeta(RoleMover),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: RoleMover},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: v1alpha1.GroupMovers}},
	}
}

func typeMeta(version schema.GroupVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version.String(), Kind: kind}
}

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/part-of": "kubecell"}}
}
