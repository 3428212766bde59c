package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// ErrNothingSaved is returned by [Load] where no configuration was ever saved.
var ErrNothingSaved = errors.New("no routing configuration is saved")

// Saved is the last good configuration on disk, from which a router can start, and `where --offline`
// can answer, while the router control plane is down.
type Saved struct {
	// SavedAt is when the configuration was known to be in force.
	SavedAt time.Time `json:"savedAt"`
	// Released says that the Ring may have changed without the router that saved this: its registration is gone, and
	// it must not write by what is here.
	Released bool `json:"released,omitempty"`
	// Server is the URL that the Ring was read from.
	Server string `json:"server"`
	// Ring is the Ring as it was read.
	Ring v1alpha1.Ring `json:"ring"`
	// Cells are the cells and their credentials. Commands do not save them, routers do.
	Cells []SavedCell `json:"cells,omitempty"`
}

// SavedCell is a cell and the kubeconfig that reaches it.
type SavedCell struct {
	Cell v1alpha1.Cell `json:"cell"`
	// Kubeconfig is secret: the file that holds it is readable by its owner alone.
	Kubeconfig []byte `json:"kubeconfig"`
}

// Save writes s to path, whole or not at all: a crash in the middle leaves the previous file. The
// file is readable by its owner alone; its folder is made where it is missing.
func Save(path string, s *Saved) (err error) {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode routing configuration: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("save routing configuration: %w", err)
	}
	return nil
}

// Load reads what [Save] wrote. The error wraps [ErrNothingSaved] where there is no file.
func Load(path string) (*Saved, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNothingSaved)
	}
	if err != nil {
		return nil, fmt.Errorf("load routing configuration: %w", err)
	}
	s := &Saved{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("load routing configuration from %s: %w", path, err)
	}
	return s, nil
}
