package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// Mark says how far the backup of a cell has come.
type Mark struct {
	// Cell, and the UID of its namespace kube-system: another control plane of the same name counts anew.
	Cell, ControlPlane string
	Time               time.Time
	// Resources are the versions, in the cell, up to which every event of a resource is in its envelope.
	Resources map[schema.GroupResource]int64
}

// ParseMark reads a mark as the backup daemon publishes it.
func ParseMark(data []byte) (Mark, error) {
	var text struct {
		Cell         string            `json:"cell"`
		ControlPlane string            `json:"controlPlane"`
		Time         time.Time         `json:"time"`
		Resources    map[string]string `json:"resources"`
	}
	if err := json.Unmarshal(data, &text); err != nil {
		return Mark{}, fmt.Errorf("decode mark: %w", err)
	}
	m := Mark{Cell: text.Cell, ControlPlane: text.ControlPlane, Time: text.Time, Resources: map[schema.GroupResource]int64{}}
	for name, at := range text.Resources {
		raw, err := version.ParseRaw(at)
		if err != nil {
			return Mark{}, fmt.Errorf("decode mark of cell %s for %s: %w", text.Cell, name, err)
		}
		m.Resources[schema.ParseGroupResource(name)] = raw
	}
	return m, nil
}
