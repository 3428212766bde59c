package fence

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FreezeName is the name of the policy that freezes a cell, and of its binding.
const FreezeName = "kubecell-freeze"

// FreezePrefix is what every refusal by a frozen cell begins with, after the apiserver's own words.
const FreezePrefix = "kubecell freeze: "

// apiserver is who an apiserver is to itself. It keeps its own addresses, leases and default objects.
const apiserver = "system:apiserver"

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
		},
		Validations: []admissionv1.Validation{{
			Expression: "false",
			Reason:     &forbidden,
			Message:    FreezePrefix + "the cell was failed over, and takes no writes before its failback" + stamp(revision),
		}},
	}
}
