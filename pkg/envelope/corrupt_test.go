package envelope_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// retouch changes fields of the header.
func retouch(t *testing.T, secret *corev1.Secret, fields map[string]any) {
	t.Helper()
	header := map[string]any{}
	if err := json.Unmarshal([]byte(secret.Annotations[v1alpha1.AnnotationEnvelope]), &header); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		header[name] = value
	}
	raw, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	secret.Annotations[v1alpha1.AnnotationEnvelope] = string(raw)
}

// TestCorruption changes one thing of an envelope at a time.
func TestCorruption(t *testing.T) {
	other := strings.Replace(deployment, `"replicas":3`, `"replicas":4`, 1)
	for name, change := range map[string]func(*testing.T, *corev1.Secret){
		"type":            func(_ *testing.T, s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"name":            func(_ *testing.T, s *corev1.Secret) { s.Name += "0" },
		"no header":       func(_ *testing.T, s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationEnvelope) },
		"header":          func(_ *testing.T, s *corev1.Secret) { s.Annotations[v1alpha1.AnnotationEnvelope] = "{" },
		"no unit":         func(_ *testing.T, s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationUnit) },
		"no source cell":  func(_ *testing.T, s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelSourceCell) },
		"no backup cell":  func(_ *testing.T, s *corev1.Secret) { delete(s.Labels, v1alpha1.LabelBackupCell) },
		"no data":         func(_ *testing.T, s *corev1.Secret) { s.Data = nil },
		"truncated":       func(_ *testing.T, s *corev1.Secret) { s.Data["object"] = s.Data["object"][:100] },
		"a bit":           func(_ *testing.T, s *corev1.Secret) { s.Data["object"][60] ^= 1 },
		"another object":  func(t *testing.T, s *corev1.Secret) { s.Data = seal(t, other).Data },
		"not an object":   func(t *testing.T, s *corev1.Secret) { s.Data = payload(t, s, "[]") },
		"hash":            func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"hash": strings.Repeat("0", 64)}) },
		"uid":             func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"uid": "another"}) },
		"resourceVersion": func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"resourceVersion": "99999"}) },
		"kind":            func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"kind": "StatefulSet"}) },
		"version":         func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"version": "v2"}) },
		"owners":          func(t *testing.T, s *corev1.Secret) { retouch(t, s, map[string]any{"owners": []string{}}) },
		"object of that name": func(t *testing.T, s *corev1.Secret) {
			retouch(t, s, map[string]any{"name": "another"})
			s.Name = envelope.Name("apps", "deployments", "payments", "another")
		},
		"object of that namespace": func(t *testing.T, s *corev1.Secret) {
			retouch(t, s, map[string]any{"namespace": "another"})
			s.Name = envelope.Name("apps", "deployments", "another", "checkout")
		},
	} {
		t.Run(name, func(t *testing.T) {
			secret := seal(t, deployment)
			change(t, secret)
			opened, err := envelope.Open(secret)
			if corrupt := (*envelope.CorruptError)(nil); !errors.As(err, &corrupt) || opened != nil || corrupt.Name != secret.Name {
				t.Errorf("Open = %v, %v; want a CorruptError that names the secret", opened, err)
			}
		})
	}
}

// payload is what holds the object, whose hash the header says from then on.
func payload(t *testing.T, secret *corev1.Secret, object string) map[string][]byte {
	t.Helper()
	retouch(t, secret, map[string]any{"hash": envelope.Hash([]byte(object))})
	// A raw block of zstd: magic number, descriptor (single segment, one byte of size), size, header of the last block.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, byte(len(object)), byte(len(object)<<3 | 1), 0, 0}
	return map[string][]byte{envelope.DataKey: append(frame, object...)}
}

// FuzzOpen never panics, and what it opens can be sealed and opened again.
func FuzzOpen(f *testing.F) {
	good := seal(f, deployment)
	f.Add(good.Name, good.Annotations[v1alpha1.AnnotationEnvelope], good.Data["object"])
	f.Add(good.Name, "{}", []byte{})
	f.Add("envelope-", `{"name":"a"}`, []byte{0x28, 0xb5, 0x2f, 0xfd})
	sealer := sealer(f)
	f.Fuzz(func(t *testing.T, name, header string, data []byte) {
		secret := good.DeepCopy()
		secret.Name, secret.Data[envelope.DataKey] = name, data
		secret.Annotations[v1alpha1.AnnotationEnvelope] = header
		opened, err := envelope.Open(secret)
		if err != nil {
			if corrupt := (*envelope.CorruptError)(nil); !errors.As(err, &corrupt) {
				t.Fatalf("Open: %v; want a CorruptError", err)
			}
			return
		}
		again, err := sealer.Seal(envelope.Source{
			Resource: opened.Resource, Unit: opened.Unit, Cell: opened.SourceCell, BackupCell: opened.BackupCell,
			Epoch: opened.Epoch, Written: opened.Written,
		}, opened.Object)
		if err != nil {
			t.Fatalf("seal what was opened: %v", err)
		}
		reopened, err := envelope.Open(again)
		if err != nil || string(reopened.Object) != string(opened.Object) || again.Name != name {
			t.Fatalf("opened again: %v, %v", reopened, err)
		}
	})
}
