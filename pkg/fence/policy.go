package fence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Name of the policy and of its binding.
const Name = "kubecell-fence"

// MessagePrefix is what every refusal by the fence begins with, after the apiserver's own words.
const MessagePrefix = "kubecell fence: "

// Who empties a namespace that goes: the controller by its own account or, where
// kube-controller-manager runs without --use-service-account-credentials, by the one account that it
// has for all its controllers.
const (
	namespaceController = "system:serviceaccount:kube-system:namespace-controller"
	controllerManager   = "system:kube-controller-manager"
	// garbageCollector takes the finalizer "orphan" off what a mover deletes, once what it owned is let go.
	garbageCollector = "system:serviceaccount:kube-system:generic-garbage-collector"
)

// policy is the fence itself.
func policy() (*admissionv1.ValidatingAdmissionPolicy, error) { return policyOf(Name, policySpec) }

// policyOf makes a policy. What an apiserver would fill in is written out, so that an unchanged policy equals
// this one.
//
// Its message ends with the revision: whoever is refused with it knows that this policy, and no earlier
// one, is in force.
func policyOf(name string, spec func(revision string) admissionv1.ValidatingAdmissionPolicySpec) (*admissionv1.ValidatingAdmissionPolicy, error) {
	revision, err := revisionOf(spec(""))
	if err != nil {
		return nil, err
	}
	return &admissionv1.ValidatingAdmissionPolicy{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
		ObjectMeta: objectMeta(name),
		Spec:       spec(revision),
	}, nil
}

// revisionOf tells one text of a policy from another.
func revisionOf(spec admissionv1.ValidatingAdmissionPolicySpec) (string, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode the fence: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4]), nil
}

func policySpec(revision string) admissionv1.ValidatingAdmissionPolicySpec {
	fail := admissionv1.Fail
	forbidden := metav1.StatusReasonForbidden
	return admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: &fail,
		// The label is held against the object before and after the write; one of them is enough.
		MatchConstraints: everything(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: v1alpha1.LabelRebalanceStatus, Operator: metav1.LabelSelectorOpExists},
		}}),
		MatchConditions: []admissionv1.MatchCondition{
			notAMover(),
			{
				Name:       "not-the-namespace-controller",
				Expression: fmt.Sprintf("request.operation != 'DELETE' || request.userInfo.username != '%s'", namespaceController),
			},
			{
				Name: "not-the-garbage-collector",
				Expression: fmt.Sprintf("request.operation != 'UPDATE' || !(request.userInfo.username in ['%s', '%s']) || "+
					"!has(oldObject.metadata.deletionTimestamp)", garbageCollector, controllerManager),
			},
		},
		Variables: []admissionv1.Variable{
			{Name: "subject", Expression: "oldObject == null ? object : oldObject"},
			{Name: "name", Expression: "has(variables.subject.metadata.name) ? variables.subject.metadata.name : ''"},
			{Name: "state", Expression: fmt.Sprintf("oldObject != null && has(oldObject.metadata.labels) && '%[1]s' in oldObject.metadata.labels ? "+
				"oldObject.metadata.labels['%[1]s'] : ''", v1alpha1.LabelRebalanceStatus)},
		},
		Validations: []admissionv1.Validation{{
			// Nothing that came this far is allowed but the emptying of a namespace. The namespace is known
			// here and not in the conditions above; that it goes tells which of its controllers deletes.
			Expression: fmt.Sprintf("request.operation == 'DELETE' && request.userInfo.username == '%s' && "+
				"namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp)", controllerManager),
			Reason:            &forbidden,
			Message:           MessagePrefix + "the object is in migration" + stamp(revision),
			MessageExpression: messageExpression(revision),
		}},
	}
}

func notAMover() admissionv1.MatchCondition {
	return admissionv1.MatchCondition{
		Name:       "not-a-mover",
		Expression: fmt.Sprintf("!has(request.userInfo.groups) || !('%s' in request.userInfo.groups)", v1alpha1.GroupMovers),
	}
}

// everything are all writes of all resources, with and without subresource, that the selector matches.
func everything(objects *metav1.LabelSelector) *admissionv1.MatchResources {
	equivalent, all := admissionv1.Equivalent, admissionv1.AllScopes
	return &admissionv1.MatchResources{
		MatchPolicy: &equivalent, NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: objects,
		ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete},
			Rule:       admissionv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}, Scope: &all},
		}}},
	}
}

// messageExpression names the object and its state before the write.
func messageExpression(revision string) string {
	return fmt.Sprintf("'%s' + request.resource.resource + ' ' + (has(request.namespace) && request.namespace != '' ? request.namespace + '/' : '') + variables.name + "+
		"(variables.state == '' ? ': the label %s is for the federation alone to set' : "+
		"' is in migration (' + variables.state + ') and cannot be written in this cell now') + '%s'",
		MessagePrefix, v1alpha1.LabelRebalanceStatus, stamp(revision))
}

func stamp(revision string) string { return " [" + revision + "]" }

// binding puts a policy in force, for everything.
func binding(policy string) *admissionv1.ValidatingAdmissionPolicyBinding {
	return &admissionv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   typeMeta(admissionv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding"),
		ObjectMeta: objectMeta(policy),
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
}
