package failover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// quarantine is a folder in which what differs is kept, for a person to look at. Secrets may be among it: its files are
// readable by their owner alone.
//
//	<dir>/<resource>[.<group>]/<namespace>/<name>.cell.yaml, .federation.yaml, .diff; .copy.yaml
type quarantine struct{ dir string }

// save writes both versions of an object and what differs. What an earlier run has saved of it is replaced.
func (q quarantine) save(resource schema.GroupResource, here, there *unstructured.Unstructured) error {
	diff, err := difference(here, there)
	if err != nil {
		return err
	}
	files := map[string][]byte{".diff": []byte(diff)}
	for ending, obj := range map[string]*unstructured.Unstructured{".cell.yaml": here, ".federation.yaml": there} {
		if obj == nil {
			continue
		}
		if files[ending], err = yaml.Marshal(obj.Object); err != nil {
			return fmt.Errorf("encode %s %s: %w", resource, obj.GetName(), err)
		}
	}
	folder := filepath.Join(q.dir, resource.String(), here.GetNamespace())
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make quarantine: %w", err)
	}
	for ending, text := range files {
		if err := write(filepath.Join(folder, here.GetName()+ending), text); err != nil {
			return fmt.Errorf("write to quarantine: %w", err)
		}
	}
	return nil
}

// keep writes an object that is in an envelope and could not be promoted.
func (q quarantine) keep(e *envelope.Envelope) error {
	text, err := yaml.JSONToYAML(e.Object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", &e.Header, err)
	}
	folder := filepath.Join(q.dir, e.GroupVersionResource().GroupResource().String(), e.Namespace)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make quarantine: %w", err)
	}
	if err := write(filepath.Join(folder, e.Name+".copy.yaml"), text); err != nil {
		return fmt.Errorf("write to quarantine: %w", err)
	}
	return nil
}

// write returns once the file is on the disk: the object is deleted then.
func write(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
