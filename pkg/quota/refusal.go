package quota

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Refusal is what an apiserver says of a write that exceeds a quota.
type Refusal struct {
	// Quota is the name of the quota, in the namespace of the write.
	Quota string
	// Requested, Used and Limited are of those limits that were exceeded.
	Requested, Used, Limited corev1.ResourceList
}

// refusal is how the admission plugin ResourceQuota says it. Between the lists is a comma and a space.
var refusal = regexp.MustCompile(`exceeded quota: ([a-z0-9.-]+), requested: ([^ "]+), used: ([^ "]+), limited: ([A-Za-z0-9.,=/_:+-]+)`)

// ParseRefusal finds a refusal in a message, or in the encoding of one.
func ParseRefusal(message []byte) (Refusal, bool) {
	found := refusal.FindSubmatch(message)
	if found == nil {
		return Refusal{}, false
	}
	out := Refusal{Quota: string(found[1])}
	for i, into := range []*corev1.ResourceList{&out.Requested, &out.Used, &out.Limited} {
		list, ok := parseList(strings.TrimSuffix(string(found[i+2]), ","))
		if !ok {
			return Refusal{}, false
		}
		*into = list
	}
	return out, len(out.Requested) > 0
}

// String is the refusal in an apiserver's words.
func (r Refusal) String() string {
	return fmt.Sprintf("exceeded quota: %s, requested: %s, used: %s, limited: %s",
		r.Quota, list(r.Requested), list(r.Used), list(r.Limited))
}

func list(of corev1.ResourceList) string {
	out := make([]string, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		amount := of[name]
		out = append(out, string(name)+"="+amount.String())
	}
	return strings.Join(out, ",")
}

func parseList(text string) (corev1.ResourceList, bool) {
	out := corev1.ResourceList{}
	for entry := range strings.SplitSeq(text, ",") {
		name, amount, ok := strings.Cut(entry, "=")
		quantity, err := resource.ParseQuantity(amount)
		if !ok || err != nil {
			return nil, false
		}
		out[corev1.ResourceName(name)] = quantity
	}
	return out, true
}
