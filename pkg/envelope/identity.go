package envelope

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
)

// identity is what an object says of itself.
type identity struct {
	group    schema.GroupVersion
	kind     string
	metadata metadata
}

type metadata struct {
	Namespace       string                  `json:"namespace"`
	Name            string                  `json:"name"`
	UID             types.UID               `json:"uid"`
	ResourceVersion string                  `json:"resourceVersion"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
}

// identify reads an object's JSON as an apiserver does: names of fields are told apart by case.
func identify(object []byte) (*identity, error) {
	var fields struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Metadata   metadata `json:"metadata"`
	}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	group, err := schema.ParseGroupVersion(fields.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return &identity{group: group, kind: fields.Kind, metadata: fields.Metadata}, nil
}

// write puts what the object says in a header.
func (i *identity) write(h *Header) {
	h.Group, h.Version, h.Kind = i.group.Group, i.group.Version, i.kind
	h.Namespace, h.Name = i.metadata.Namespace, i.metadata.Name
	h.UID, h.ResourceVersion = i.metadata.UID, i.metadata.ResourceVersion
	h.Owners = nil
	for _, owner := range i.metadata.OwnerReferences {
		h.Owners = append(h.Owners, owner.UID)
	}
}

// contradicts names the first field in which the object says something else than the header.
func (i *identity) contradicts(h *Header) string {
	own := *h
	i.write(&own)
	switch {
	case own.Group != h.Group || own.Version != h.Version:
		return "apiVersion"
	case own.Kind != h.Kind:
		return "kind"
	case own.Namespace != h.Namespace:
		return "namespace"
	case own.Name != h.Name:
		return "name"
	case own.UID != h.UID:
		return "uid"
	case own.ResourceVersion != h.ResourceVersion:
		return "resourceVersion"
	case !slices.Equal(own.Owners, h.Owners):
		return "owners"
	}
	return ""
}
