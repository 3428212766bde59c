package migration

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// document is an object whose fields stay the bytes that the server sent, but for its labels, annotations
// and owners. It is changed by its maker alone.
type document struct {
	// fields are those of the object but its metadata, meta those of its metadata but the following.
	fields, meta        map[string]json.RawMessage
	labels, annotations map[string]string
	owners              []metav1.OwnerReference
}

func parse(body []byte) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(body, &d.fields); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	if err := json.Unmarshal(d.fields["metadata"], &d.meta); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", err)
	}
	delete(d.fields, "metadata")
	for name, into := range map[string]any{"labels": &d.labels, "annotations": &d.annotations, "ownerReferences": &d.owners} {
		if raw, there := d.meta[name]; there {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("decode metadata.%s: %w", name, err)
			}
			delete(d.meta, name)
		}
	}
	return d, nil
}

// clone shares the bytes alone.
func (d *document) clone() *document {
	return &document{
		fields: maps.Clone(d.fields), meta: maps.Clone(d.meta),
		labels: maps.Clone(d.labels), annotations: maps.Clone(d.annotations),
		owners: append([]metav1.OwnerReference(nil), d.owners...),
	}
}

func (d *document) encode() ([]byte, error) {
	meta := maps.Clone(d.meta)
	for name, value := range map[string]any{"labels": d.labels, "annotations": d.annotations, "ownerReferences": d.owners} {
		raw, err := encode(value)
		if err != nil {
			return nil, err
		}
		if string(raw) != "null" {
			meta[name] = raw
		}
	}
	raw, err := encode(meta)
	if err != nil {
		return nil, err
	}
	fields := maps.Clone(d.fields)
	fields["metadata"] = raw
	return encode(fields)
}

func encode(value any) ([]byte, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return raw, nil
}

func (d *document) text(field string) string {
	var s string
	if json.Unmarshal(d.meta[field], &s) != nil {
		return "" // there is no such field
	}
	return s
}

func (d *document) uid() types.UID  { return types.UID(d.text("uid")) }
func (d *document) version() string { return d.text("resourceVersion") }

// created is to the second, by the clock of the cell.
func (d *document) created() time.Time {
	at, err := time.Parse(time.RFC3339, d.text("creationTimestamp"))
	if err != nil {
		return time.Time{} // a server always says
	}
	return at
}

func (d *document) deleting() bool { return d.text("deletionTimestamp") != "" }

func (d *document) status() v1alpha1.RebalanceStatus {
	return v1alpha1.RebalanceStatus(d.labels[v1alpha1.LabelRebalanceStatus])
}

// finalizers are nil where there are none, or where they cannot be read.
func (d *document) finalizers() []string {
	var finalizers []string
	_ = json.Unmarshal(d.meta["finalizers"], &finalizers)
	return finalizers
}

// managedFields are those of others than the mover. Where nobody has any, they are the list by which
// an apiserver takes all of them off.
func (d *document) managedFields() (json.RawMessage, error) {
	var entries []json.RawMessage
	if raw, there := d.meta["managedFields"]; there {
		if err := json.Unmarshal(raw, &entries); err != nil {
			return nil, fmt.Errorf("decode managedFields: %w", err)
		}
	}
	kept := make([]json.RawMessage, 0, len(entries))
	for _, entry := range entries {
		var of struct {
			Manager string `json:"manager"`
		}
		if err := json.Unmarshal(entry, &of); err != nil {
			return nil, fmt.Errorf("decode managedFields: %w", err)
		}
		if of.Manager != v1alpha1.MoverFieldManager {
			kept = append(kept, entry)
		}
	}
	if len(kept) == 0 {
		return json.RawMessage("[{}]"), nil
	}
	return encode(kept)
}

// marks are the annotations that moving sets. The placement epoch is not one of them: it stays.
func marks() []string {
	return append(incomingMarks(),
		v1alpha1.AnnotationRebalance, v1alpha1.AnnotationUnit, v1alpha1.AnnotationMovesTo, v1alpha1.AnnotationMigrationTime)
}

// incomingMarks are those of them that a copy has.
func incomingMarks() []string {
	return []string{
		v1alpha1.AnnotationFromCell, v1alpha1.AnnotationFromUID, v1alpha1.AnnotationFromVersion,
		v1alpha1.AnnotationContentHash, v1alpha1.AnnotationManagedFields, v1alpha1.AnnotationKept,
	}
}
