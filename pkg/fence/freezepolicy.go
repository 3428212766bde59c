package fence

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FreezeName is the name of the policy that freezes a cell, of its binding, and of the mark of [EarlyName].
const FreezeName = "kubecell-freeze"

// EarlyName is the name of a policy that each cell has beforehand, and of its binding. It refuses what the freeze
// refuses, in the same words, from the moment that the mark is there. An apiserver looks for changed policies once a
// second, so long a cell that comes back would go on; of the mark it knows in milliseconds.
const EarlyName = "kubecell-freeze-early"

// FreezePrefix is what every refusal by a frozen cell begins with, after the apiserver's own words.
const FreezePrefix = "kubecell freeze: "

// apiserver is who an apiserver is to itself. It keeps its own addresses, leases and default objects.
const apiserver = "system:apiserver"

// freezeMark is the parameter of the early policy: a ClusterRole that grants nothing. An apiserver has all of those in
// memory, and whoever may install the fence may write it.
func freezeMark() *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{TypeMeta: typeMeta(rbacv1.SchemeGroupVersion, "ClusterRole"), ObjectMeta: objectMeta(FreezeName)}
}

// earlyPolicy is the freeze where the mark is, and costs a write nothing elsewhere. An apiserver that cannot tell whether the
// mark is there, as one might that starts, lets writes through: it would refuse those of a cell in use. Therefore it
// does not stand alone for longer than a second.
func earlyPolicy() (*admissionv1.ValidatingAdmissionPolicy, error) {
	revision, err := revisionOf(freezeSpec(""))
	if err != nil {
		return nil, err
	}
	spec, ignore := freezeSpec(revision), admissionv1.Ignore
	spec.ParamKind = &admissionv1.ParamKind{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"}
	spec.FailurePolicy = &ignore
	return &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: objectMeta(EarlyName),
		Spec:       spec,
	}, nil
}

func earlyBinding() *admissionv1.ValidatingAdmissionPolicyBinding {
	allow := admissionv1.AllowAction
	out := binding(EarlyName)
	out.Spec.ParamRef = &admissionv1.ParamRef{Name: FreezeName, ParameterNotFoundAction: &allow}
	return out
}

// freezePolicy refuses whatever would change a cell that was failed over.
func freezePolicy() (*admissionv1.ValidatingAdmissionPolicy, error) {
	return policyOf(FreezeName, freezeSpec)
}

func freezeSpec(revision string) admissionv1.ValidatingAdmissionPolicySpec {
	fail, forbidden := admissionv1.Fail, metav1.StatusReasonForbidden
	return admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy:    &fail,
		MatchConstraints: everything(&metav1.LabelSelector{}),
		MatchConditions: []admissionv1.MatchCondition{
			notAMover(),
			{
				Name:       "not-the-apiserver",
				Expression: fmt.Sprintf("request.userInfo.username != '%s'", apiserver),
			},
			{
				// Those of the control plane's components, and of nodes: without them pods would be evicted.
				Name: "not-a-lease-of-the-system",
				Expression: "request.resource.group != 'coordination.k8s.io' || request.resource.resource != 'leases' || " +
					"!has(request.namespace) || !(request.namespace in ['kube-system', 'kube-node-lease'])",
			},
			{
				// They are questions, and change nothing.
				Name: "not-a-review",
				Expression: "!(request.resource.group in ['authentication.k8s.io', 'authorization.k8s.io']) && " +
					"!(request.resource.group == '' && request.resource.resource == 'serviceaccounts' && " +
					"has(request.subResource) && request.subResource == 'token')",
			},
			{
				// By its name: whoever deletes all roles at once means something else.
				Name: "not-the-mark",
				Expression: fmt.Sprintf("request.resource.group != '%s' || request.resource.resource != 'clusterroles' || "+
					"!has(request.name) || request.name != '%s'", rbacv1.GroupName, FreezeName),
			},
		},
		Validations: []admissionv1.Validation{{
			Expression: "false",
			Reason:     &forbidden,
			Message:    FreezePrefix + "the cell was failed over, and takes no writes before its failback" + stamp(revision),
		}},
	}
}
