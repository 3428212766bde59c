package launch

import (
	"bytes"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// nameLabel tells the objects of one daemon from all others.
const nameLabel = "app.kubernetes.io/name"

func (o *deploymentOptions) name() string { return "kubecell-" + o.program.Name }

func (o *deploymentOptions) selector() map[string]string {
	return map[string]string{nameLabel: o.name()}
}

func (o *deploymentOptions) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: o.namespace,
		Labels: map[string]string{nameLabel: o.name(), "app.kubernetes.io/part-of": "kubecell"},
	}
}

func (o *deploymentOptions) clusterMeta(name string) metav1.ObjectMeta {
	meta := o.meta(name)
	meta.Namespace = ""
	return meta
}

// manifests are all objects, in the order in which they can be created.
func (o *deploymentOptions) manifests() []runtime.Object {
	namespace := o.clusterMeta(o.namespace)
	namespace.Labels = map[string]string{"app.kubernetes.io/part-of": "kubecell"}
	out := []runtime.Object{
		&corev1.Namespace{TypeMeta: typeMeta(corev1.SchemeGroupVersion.String(), "Namespace"), ObjectMeta: namespace},
		&corev1.ServiceAccount{
			TypeMeta: typeMeta("v1", "ServiceAccount"), ObjectMeta: o.meta(o.name()),
			AutomountServiceAccountToken: ptr.To(false), // the pods say themselves whether they need one
		},
	}
	if o.rcpSecret == "" {
		out = append(out, o.bindings()...)
		out = append(out, o.ownKubeconfig())
	}
	return append(out, o.deployment(), o.budget(), o.service(), o.networkPolicy())
}

// bindings give the pods the rights that `init` has defined for the daemon, and no others.
func (o *deploymentOptions) bindings() []runtime.Object {
	role := o.program.Pods.Role
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: o.name(), Namespace: o.namespace}}
	inSystem := o.meta(o.name() + "-pods")
	inSystem.Namespace = v1alpha1.Namespace
	group := rbacv1.SchemeGroupVersion.String()
	return []runtime.Object{
		&rbacv1.ClusterRoleBinding{
			TypeMeta: typeMeta(group, "ClusterRoleBinding"), ObjectMeta: o.clusterMeta(o.name() + "-pods"), Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		},
		&rbacv1.RoleBinding{
			TypeMeta: typeMeta(group, "RoleBinding"), ObjectMeta: inSystem, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		},
	}
}

// ownKubeconfig names the token of the pod as a file, which is followed when the kubelet renews it.
const ownKubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: rcp
  cluster:
    server: https://kubernetes.default.svc
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
users:
- name: pod
  user:
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
contexts:
- name: rcp
  context: {cluster: rcp, user: pod}
current-context: rcp
`

func (o *deploymentOptions) ownKubeconfig() runtime.Object {
	return &corev1.ConfigMap{
		TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: o.meta(o.name() + "-rcp"),
		Data: map[string]string{v1alpha1.KubeconfigKey: ownKubeconfig},
	}
}

func (o *deploymentOptions) deployment() runtime.Object {
	return &appsv1.Deployment{
		TypeMeta: typeMeta(appsv1.SchemeGroupVersion.String(), "Deployment"), ObjectMeta: o.meta(o.name()),
		Spec: appsv1.DeploymentSpec{
			Replicas: &o.replicas,
			Selector: &metav1.LabelSelector{MatchLabels: o.selector()},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1))},
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: o.meta("").Labels},
				Spec:       o.pod(),
			},
		},
	}
}

// budget keeps one pod while nodes are emptied; one that is alone may go.
func (o *deploymentOptions) budget() runtime.Object {
	return &policyv1.PodDisruptionBudget{
		TypeMeta: typeMeta(policyv1.SchemeGroupVersion.String(), "PodDisruptionBudget"), ObjectMeta: o.meta(o.name()),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr.To(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: o.selector()},
		},
	}
}

func (o *deploymentOptions) service() runtime.Object {
	pods := o.program.Pods
	return &corev1.Service{
		TypeMeta: typeMeta("v1", "Service"), ObjectMeta: o.meta(o.name()),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceType(o.serviceType), Selector: o.selector(),
			Ports: []corev1.ServicePort{{Name: pods.PortName, Port: pods.ServicePort, TargetPort: intstr.FromString(pods.PortName)}},
		},
	}
}

func typeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// encode writes objects as YAML, without the fields that only a server fills.
func encode(objects []runtime.Object) ([]byte, error) {
	var out bytes.Buffer
	for _, object := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encode manifest: %w", err)
		}
		delete(content, "status")
		dropCreation(content)
		data, err := yaml.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("encode manifest: %w", err)
		}
		fmt.Fprintf(&out, "---\n%s", data)
	}
	return out.Bytes(), nil
}

// dropCreation takes the empty creationTimestamp out of every metadata, that of a pod template too.
func dropCreation(content map[string]any) {
	for key, value := range content {
		below, ok := value.(map[string]any)
		if !ok {
			continue
		}
		if key == "metadata" && below["creationTimestamp"] == nil {
			delete(below, "creationTimestamp")
		}
		dropCreation(below)
	}
}
