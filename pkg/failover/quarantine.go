package failover

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// quarantine is a folder in which what differs is kept, for a person to look at. Secrets may be among it: its files are
// readable by their owner alone. A longer name than a file may have is cut, and told from others by its hash. An object whose
// name is that of another one in the folder, which is gone since, has its UID after the name.
//
//	<dir>/<resource>[.<group>]/<namespace>/<name>[-<uid>].cell.yaml, .federation.yaml, .diff; .copy.yaml
//	<dir>/secrets/<namespace>/<cell>/<name>-<uid>.yaml, of an envelope that cannot be opened
type quarantine struct {
	dir string
	// cell is the one that comes back.
	cell string
}

// longestName leaves room for a UID and an ending: on most systems a file's name may have 255 bytes.
const longestName = 200

// What an object is saved as.
const (
	fromCell       = ".cell.yaml"
	fromFederation = ".federation.yaml"
	fromEnvelope   = ".copy.yaml"
)

// save writes both versions of an object and what differs. What an earlier run has saved of the same object is replaced.
func (q quarantine) save(resource schema.GroupResource, here, there *unstructured.Unstructured) error {
	diff, err := difference(here, there)
	if err != nil {
		return err
	}
	files := map[string][]byte{".diff": []byte(diff)}
	for ending, obj := range map[string]*unstructured.Unstructured{fromCell: here, fromFederation: there} {
		if obj == nil {
			continue
		}
		if files[ending], err = yaml.Marshal(obj.Object); err != nil {
			return fmt.Errorf("encode %s %s: %w", resource, obj.GetName(), err)
		}
	}
	return q.write(resource, here, fromCell, files)
}

// keep writes an object that is in an envelope and could not be promoted. While a rebalance runs there may be two of one object:
// the newer one is kept.
func (q quarantine) keep(e *envelope.Envelope) error {
	text, err := yaml.JSONToYAML(e.Object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", &e.Header, err)
	}
	of := &metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name, UID: e.UID, ResourceVersion: e.ResourceVersion}
	return q.write(e.GroupVersionResource().GroupResource(), of, fromEnvelope, map[string][]byte{fromEnvelope: text})
}

// keepSealed writes an envelope of a cell that cannot be opened, as the Secret that it is: somebody may make something of it
// yet. Those of one object have one name in all cells, and one that is made anew has it again.
func (q quarantine) keepSealed(cell string, secret *corev1.Secret) error {
	whole := secret.DeepCopy()
	whole.APIVersion, whole.Kind = "v1", "Secret" // a list does not say so of each
	text, err := yaml.Marshal(whole)
	if err != nil {
		return fmt.Errorf("encode secret %s: %w", secret.Name, err)
	}
	folder := filepath.Join(q.dir, "secrets", secret.Namespace, cell)
	if err = os.MkdirAll(folder, 0o700); err == nil {
		err = atomicfile.WriteBytes(filepath.Join(folder, fileName(secret.Name)+"-"+string(secret.UID)+".yaml"), 0o600, text)
	}
	return q.failed("secrets", err)
}

// write writes the files of an object, by their endings; own is that of the one that holds the object itself.
func (q quarantine) write(resource schema.GroupResource, of metav1.Object, own string, files map[string][]byte) error {
	folder := filepath.Join(q.dir, resource.String(), of.GetNamespace())
	err := os.MkdirAll(folder, 0o700)
	stem := filepath.Join(folder, fileName(of.GetName()))
	saved := savedAt(stem + own)
	if err == nil && saved.UID != "" && saved.UID != of.GetUID() {
		stem += "-" + string(of.GetUID())
		saved = savedAt(stem + own)
	}
	if own == fromEnvelope && saved.UID == of.GetUID() && number(saved.ResourceVersion) > number(of.GetResourceVersion()) {
		return nil
	}
	for ending, text := range files {
		if err == nil {
			err = write(stem+ending, text)
		}
	}
	return q.failed(resource.String(), err)
}

// failed is what comes of an error, if there is one: where a file cannot be written, as on a full disk, a person has to see
// to it. What is not saved is not deleted, and the same command goes on.
func (q quarantine) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return exit.Errorf(exit.Failure, "save %s: %w", what, err).
		WithHint("make room, or choose a folder that can be written; then: kubectl cell failback %s --dir FOLDER", q.cell)
}

// savedAt is of the object that is saved at path, empty where there is none. If it is another one that was made under the name
// before, and is gone since, this may be all that is left of it. What is not readable is half of one that is not deleted yet, and
// is saved anew.
func savedAt(path string) (saved metav1.PartialObjectMetadata) {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return saved
	}
	text, err := os.ReadFile(path)
	if err != nil || yaml.Unmarshal(text, &saved) != nil {
		return metav1.PartialObjectMetadata{}
	}
	return saved
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
