package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

const (
	recordFile    = "sandbox.json"
	recordVersion = 1
)

// record is sandbox.json: what a sandbox consists of. It says nothing about what runs.
type record struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Complete is set once the sandbox has worked. Before that a failure removes it.
	Complete bool `json:"complete"`
	// Removing is set when a down begins: from then on data may be missing.
	Removing bool `json:"removing,omitempty"`
	// Cells in the order in which they were made.
	Cells []cellRecord `json:"cells"`
	// Ports by the name of the part.
	Ports map[string]int `json:"ports"`
	// Kubeconfig is where contexts were written.
	Kubeconfig kubeconfigRecord `json:"kubeconfig"`
}

type cellRecord struct {
	Name string `json:"name"`
	// Joined is set once the cell is a member of a ring.
	Joined bool `json:"joined"`
	// Removing is set once the federation has forgotten the cell.
	Removing bool `json:"removing,omitempty"`
	// Partitioned is set while the federation looks for the cell where it is not.
	Partitioned bool `json:"partitioned,omitempty"`
}

// readRecord returns an empty record where there is none.
func readRecord(dir string) (record, error) {
	path := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read sandbox: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, exit.Errorf(exit.Failure, "%s is damaged: %w", path, err).
			WithHint("end what runs there, then: rm -r %s", dir)
	}
	if r.Version != recordVersion {
		return record{}, exit.Errorf(exit.Failure, "%s is of format %d, this program knows %d", path, r.Version, recordVersion).
			WithHint("use the kubectl-cell that made the sandbox to end it: kubectl cell sandbox down --name %s", r.Name)
	}
	return r, nil
}

func (b *box) save() error {
	data, err := json.MarshalIndent(b.record, "", "  ")
	if err != nil {
		return fmt.Errorf("save sandbox: %w", err)
	}
	return writeFile(b.dir(recordFile), append(data, '\n'))
}

// writeFile replaces a file, which only its owner may read, as a whole.
func writeFile(path string, data []byte) error {
	if err := atomicfile.WriteBytes(path, 0o600, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// cell returns the record of a cell, or nil.
func (r *record) cell(name string) *cellRecord {
	if i := slices.IndexFunc(r.Cells, func(c cellRecord) bool { return c.Name == name }); i >= 0 {
		return &r.Cells[i]
	}
	return nil
}

func (r *record) dropCell(name string) {
	r.Cells = slices.DeleteFunc(r.Cells, func(c cellRecord) bool { return c.Name == name })
	delete(r.Ports, name)
}
