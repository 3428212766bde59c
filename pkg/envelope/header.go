package envelope

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Header says what is in an envelope.
type Header struct {
	// Group, Version, Resource (plural) and Kind as the source cell served the object.
	Group    string `json:"group,omitempty"`
	Version  string `json:"version"`
	Resource string `json:"resource"`
	Kind     string `json:"kind"`
	// Namespace is empty for a cluster-scoped object.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// UID and ResourceVersion are those of the object in the source cell.
	UID             types.UID `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
	// Owners are the UIDs, in the source cell, of the object's owners.
	Owners []types.UID `json:"owners,omitempty"`
	// Epoch of the ring by which the backup cell was chosen.
	Epoch int64 `json:"epoch"`
	// Written is when the envelope was made, by the clock of whoever made it.
	Written time.Time `json:"written"`
	// Hash is that of the object's JSON.
	Hash string `json:"hash"`

	// Unit is the key of the unit that the object belongs to.
	Unit string `json:"-"`
	// SourceCell is where the object is, BackupCell where the envelope is.
	SourceCell string `json:"-"`
	BackupCell string `json:"-"`
	// Promoted is the UID of the object that was made from this envelope, empty where none was.
	Promoted types.UID `json:"-"`
}

// GroupVersionResource is the resource as the source cell served it.
func (h *Header) GroupVersionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: h.Group, Version: h.Version, Resource: h.Resource}
}

// SecretName is the name of the envelope.
func (h *Header) SecretName() string { return Name(h.Group, h.Resource, h.Namespace, h.Name) }

// Describes says whether the envelope holds the object in this very version.
func (h *Header) Describes(uid types.UID, resourceVersion string) bool {
	return h.UID == uid && h.ResourceVersion == resourceVersion
}

// String is "deployments.apps payments/checkout".
func (h *Header) String() string {
	name := h.Name
	if h.Namespace != "" {
		name = h.Namespace + "/" + name
	}
	return h.GroupVersionResource().GroupResource().String() + " " + name
}

// HeaderOf reads the header from the metadata of a Secret. The error is a [CorruptError].
func HeaderOf(secret metav1.Object) (Header, error) {
	corrupt := func(problem string, cause error) (Header, error) {
		return Header{}, &CorruptError{Name: secret.GetName(), Problem: problem, Cause: cause}
	}
	annotations, labels := secret.GetAnnotations(), secret.GetLabels()
	raw, there := annotations[v1alpha1.AnnotationEnvelope]
	if !there {
		return corrupt("it has no annotation "+v1alpha1.AnnotationEnvelope, nil)
	}
	var h Header
	if err := json.Unmarshal([]byte(raw), &h); err != nil {
		return corrupt("its annotation "+v1alpha1.AnnotationEnvelope+" does not parse", err)
	}
	h.Unit = annotations[v1alpha1.AnnotationUnit]
	h.Promoted = types.UID(annotations[v1alpha1.AnnotationPromoted])
	h.SourceCell, h.BackupCell = labels[v1alpha1.LabelSourceCell], labels[v1alpha1.LabelBackupCell]
	if missing := h.missing(); missing != "" {
		return corrupt("it does not say its "+missing, nil)
	}
	if h.SecretName() != secret.GetName() {
		return corrupt("its name is not that of an envelope for "+h.String(), nil)
	}
	return h, nil
}

// missing names the first field that every envelope has and this one has not.
func (h *Header) missing() string {
	for _, field := range []struct{ name, value string }{
		{"version", h.Version},
		{"resource", h.Resource},
		{"kind", h.Kind},
		{"name", h.Name},
		{"uid", string(h.UID)},
		{"resourceVersion", h.ResourceVersion},
		{"hash", h.Hash},
		{"unit", h.Unit},
		{"source cell", h.SourceCell},
		{"backup cell", h.BackupCell},
	} {
		if field.value == "" {
			return field.name
		}
	}
	return ""
}
