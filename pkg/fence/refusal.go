package fence

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refusalWords are what the apiserver puts before the words of a policy. No other policy is called so,
// and nothing that a client sends gets in front of them in a cause.
func refusalWords(policy string) string {
	return "ValidatingAdmissionPolicy '" + policy + "' with binding '" + policy + "' denied request: "
}

// IsFreezeRefusal says whether err is the refusal of a write by a frozen cell. Nothing was written, and nothing
// will be before the cell's failback.
func IsFreezeRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	_, is := refusal(status.Status(), FreezeName, EarlyName)
	return is
}

// IsRefusal says whether err is the fence's refusal of a write. Nothing was written. The caller looks at
// the object again: it may be writable a moment later, or live in another cell by then.
func IsRefusal(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && IsRefusalStatus(status.Status())
}

// IsRefusalStatus is [IsRefusal] for an answer that was read as it came.
func IsRefusalStatus(status metav1.Status) bool {
	_, is := refusal(status, Name)
	return is
}

// refusal returns the own words of whichever of the policies refused.
//
// A Status has no field for the policy that made it. Its cause is the apiserver's own sentence, whose
// beginning nobody else can write; the message of the Status begins with the object's name.
func refusal(status metav1.Status, policies ...string) (words string, is bool) {
	if status.Status != metav1.StatusFailure || status.Reason != metav1.StatusReasonForbidden || status.Details == nil {
		return "", false
	}
	for _, cause := range status.Details.Causes {
		for _, policy := range policies {
			if words, is = strings.CutPrefix(cause.Message, refusalWords(policy)); is {
				return words, true
			}
		}
	}
	return "", false
}
