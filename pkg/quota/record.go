package quota

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Record is what is known of the parts of one quota. Only limits that are divided are in it.
type Record struct {
	// UID of the quota in the RCP that the parts are of.
	UID types.UID `json:"uid"`
	// Hard is the whole.
	Hard corev1.ResourceList `json:"hard"`
	// Last is the newest generation that any part has had.
	Last int64 `json:"last"`
	// Cells are the parts by cell.
	Cells map[string]Part `json:"cells"`
}

// Of is a cell's part. One that is not in the record has a part of nothing.
func (r *Record) Of(cell string) Part {
	if part, ok := r.Cells[cell]; ok {
		return part
	}
	return Part{Generation: r.Last}
}

// Part is what is known of one cell.
type Part struct {
	// Generation is another one, and a greater one, whenever Limit is.
	Generation int64 `json:"generation"`
	// Limit is what the cell has to enforce.
	Limit corev1.ResourceList `json:"limit"`
	// Bound is what is used there at most until Limit is raised. It is Limit or more.
	Bound corev1.ResourceList `json:"bound"`
	// Held is what Limit is not lowered below before HeldUntil, but for use or need elsewhere: writes are to come for
	// which the cell was given room. It is no promise, and no part of the whole beside Limit.
	Held      corev1.ResourceList `json:"held,omitempty"`
	HeldUntil time.Time           `json:"heldUntil,omitzero"`
}

// Parse reads a record.
func Parse(text string) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, fmt.Errorf("read the record of a quota: %w", err)
	}
	return r, nil
}

// String is the record as [Parse] reads it.
func (r *Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, numbers and quantities can always be encoded
	}
	return string(text)
}

// Equal compares two records by value.
func (r *Record) Equal(other *Record) bool {
	if r == nil || other == nil {
		return r == other
	}
	if r.UID != other.UID || r.Last != other.Last || !sameList(r.Hard, other.Hard) || len(r.Cells) != len(other.Cells) {
		return false
	}
	for name, part := range r.Cells {
		o, ok := other.Cells[name]
		if !ok || o.Generation != part.Generation || !sameList(o.Limit, part.Limit) || !sameList(o.Bound, part.Bound) ||
			!sameList(o.Held, part.Held) || !o.HeldUntil.Equal(part.HeldUntil) {
			return false
		}
	}
	return true
}

func sameList(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, quantity := range a {
		other, ok := b[name]
		if !ok || quantity.Cmp(other) != 0 {
			return false
		}
	}
	return true
}
