package failover

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// quarantine is a folder in which what differs is kept, for a person to look at. Secrets may be among it: its files are
// readable by their owner alone. A longer name than a file may have is cut, and told from others by its hash.
//
//	<dir>/<resource>[.<group>]/<namespace>/<name>.cell.yaml, .federation.yaml, .diff; .copy.yaml
type quarantine struct {
	dir string
	// cell is the one that comes back.
	cell string
}

// longestName leaves room for an ending: on most systems a file's name may have 255 bytes.
const longestName = 235

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
	return q.write(resource, here.GetNamespace(), here.GetName(), files)
}

// keep writes an object that is in an envelope and could not be promoted.
func (q quarantine) keep(e *envelope.Envelope) error {
	text, err := yaml.JSONToYAML(e.Object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", &e.Header, err)
	}
	return q.write(e.GroupVersionResource().GroupResource(), e.Namespace, e.Name, map[string][]byte{".copy.yaml": text})
}

// write writes the files of an object, by their endings. Where that fails, as on a full disk, a person has to see to it: what is
// not saved is not deleted, and the same command goes on.
func (q quarantine) write(resource schema.GroupResource, namespace, name string, files map[string][]byte) error {
	folder := filepath.Join(q.dir, resource.String(), namespace)
	err := os.MkdirAll(folder, 0o700)
	for ending, text := range files {
		if err == nil {
			err = write(filepath.Join(folder, fileName(name)+ending), text)
		}
	}
	if err != nil {
		return exit.Errorf(exit.Failure, "save %s: %w", resource, err).
			WithHint("make room, or choose a folder that can be written; then: kubectl cell failback %s --dir FOLDER", q.cell)
	}
	return nil
}

func fileName(name string) string {
	if len(name) <= longestName {
		return name
	}
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:16]
	return name[:longestName-len("-")-len(hash)] + "-" + hash
}

// write returns once the file is on the disk: the object is deleted then. It leaves no half of one.
func write(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // the error is told, and the object is still there
	}
	return err
}
