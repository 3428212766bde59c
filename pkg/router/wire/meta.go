package wire

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// views are the fields of a Meta as parts of the encoded object, before anything is copied.
type views struct {
	namespace, name, uid, version []byte
	epoch, status                 []byte
	initialEventsEnd, deleting    bool
}

// meta copies the fields, all in one allocation: there are many objects.
func (v *views) meta() Meta {
	var all strings.Builder
	fields := [...][]byte{v.namespace, v.name, v.uid, v.version, v.epoch, v.status}
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	all.Grow(size)
	for _, f := range fields {
		all.Write(f)
	}
	rest := all.String()
	take := func(f []byte) string {
		out := rest[:len(f)]
		rest = rest[len(f):]
		return out
	}
	return Meta{
		Namespace: take(v.namespace), Name: take(v.name), UID: take(v.uid), ResourceVersion: take(v.version),
		PlacementEpoch: take(v.epoch), RebalanceStatus: take(v.status),
		InitialEventsEnd: v.initialEventsEnd, Deleting: v.deleting,
	}
}

func (v *views) setAnnotation(key, value []byte) {
	switch string(key) {
	case v1alpha1.AnnotationPlacementEpoch:
		v.epoch = value
	case metav1.InitialEventsAnnotationKey:
		v.initialEventsEnd = string(value) == "true"
	}
}

func (v *views) setLabel(key, value []byte) {
	if string(key) == v1alpha1.LabelRebalanceStatus {
		v.status = value
	}
}

// marks says whether a label or annotation of that key is read at all.
func marks(key []byte) bool {
	switch string(key) {
	case v1alpha1.AnnotationPlacementEpoch, v1alpha1.LabelRebalanceStatus, metav1.InitialEventsAnnotationKey:
		return true
	default:
		return false
	}
}
