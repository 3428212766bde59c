package printers

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// APIVersion is that of every Document. Fields are only ever added to it.
const APIVersion = "cli.kubecell.io/v1"

// Document is what a command prints for programs. It is an API: scripts rely on every field.
type Document struct {
	APIVersion string `json:"apiVersion"`
	// Kind says what Data holds, such as "PlacementList".
	Kind string `json:"kind"`
	// Epoch is that of the ring the answer was computed with; 0 where no ring was read.
	Epoch int64 `json:"epoch"`
	// Data is the answer. It must marshal to JSON.
	Data any `json:"data"`
	// Warnings are what the command also told people on standard error.
	Warnings []string `json:"warnings"`
}

// NewDocument returns the envelope of data.
func NewDocument(kind string, epoch int64, data any, warnings ...string) *Document {
	if warnings == nil {
		warnings = []string{} // an empty list in JSON, not null
	}
	return &Document{APIVersion: APIVersion, Kind: kind, Epoch: epoch, Data: data, Warnings: warnings}
}

// GetObjectKind makes Document a runtime.Object, which the printers of kubectl want.
func (d *Document) GetObjectKind() schema.ObjectKind {
	return &metav1.TypeMeta{APIVersion: d.APIVersion, Kind: d.Kind}
}

// DeepCopyObject copies the envelope; Data is shared, as printers only read it.
func (d *Document) DeepCopyObject() runtime.Object {
	out := *d
	return &out
}

// unstructured is the document as templates see it: whole numbers stay whole, where encoding/json
// would turn them into floats that print as 1e+06.
func (d *Document) unstructured() (*unstructured.Unstructured, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", d.Kind, err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("decode %s: %w", d.Kind, err)
	}
	return out, nil
}
