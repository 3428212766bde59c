package launch

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// adminFrom is the flag that names who, beside the pods of the namespace, reaches the admin port.
const adminFrom = "admin-from"

// peer is what a value of --admin-from stands for: the pods of a namespace, or the addresses of a CIDR.
func peer(value string) (networkingv1.NetworkPolicyPeer, *exit.Error) {
	var out networkingv1.NetworkPolicyPeer
	if !strings.Contains(value, "/") {
		if problems := validation.IsDNS1123Label(value); len(problems) > 0 {
			return out, exit.Flagf(adminFrom, printers.Clip(value), "be a namespace, or a CIDR such as 10.0.0.7/32")
		}
		out.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: value}}
		return out, nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return out, exit.Flagf(adminFrom, printers.Clip(value), "be a CIDR such as 10.0.0.7/32")
	}
	if prefix != prefix.Masked() {
		return out, exit.Flagf(adminFrom, printers.Clip(value), "have no bits behind its mask: %s", prefix.Masked())
	}
	out.IPBlock = &networkingv1.IPBlock{CIDR: value}
	return out, nil
}

// networkPolicy keeps the admin port, which asks for no credentials, to the namespace and to whom --admin-from
// names. The kubelet's probes are let through by every network.
func (o *deploymentOptions) networkPolicy() runtime.Object {
	pods := o.program.Pods
	sameNamespace := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
	ingress := []networkingv1.NetworkPolicyIngressRule{{
		Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(pods.AdminPort))}},
		From:  append([]networkingv1.NetworkPolicyPeer{sameNamespace}, o.adminPeers...),
	}}
	if pods.Port != pods.AdminPort {
		ingress = append(ingress, networkingv1.NetworkPolicyIngressRule{
			Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(pods.Port))}},
		})
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta: typeMeta(networkingv1.SchemeGroupVersion.String(), "NetworkPolicy"), ObjectMeta: o.meta(o.name()),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: o.selector()},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     ingress,
		},
	}
}
