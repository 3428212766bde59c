package envelope

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// DataKey is the key in the Secret whose value is the compressed object.
const DataKey = "object"

const (
	// maxPayload is how much an apiserver lets the values of a Secret be together.
	maxPayload = corev1.MaxSecretSize
	// maxObject bounds what an envelope can make of memory when it is opened. An apiserver stores 1.5 MiB by
	// default, which may be twice as much in JSON.
	maxObject = 32 << 20
)

// Source is what an object does not say of itself.
type Source struct {
	// Resource is the plural name of the object's resource, such as "deployments".
	Resource string
	// Unit is the key of the unit that the object belongs to.
	Unit string
	// Cell that served the object, and BackupCell that the envelope is for.
	Cell, BackupCell string
	// Epoch of the ring by which the backup cell was chosen.
	Epoch int64
	// Written is now.
	Written time.Time
}

// Sealer makes envelopes. It may be used by many goroutines at once, and keeps about 300 KB for each that does.
type Sealer struct{ encoder *zstd.Encoder }

// NewSealer returns a Sealer.
func NewSealer() (*Sealer, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false), // the header has a hash
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("set up the compressor: %w", err)
	}
	return &Sealer{encoder}, nil
}

// Seal makes the Secret that holds an object, given as the JSON that its cell served. The error is a
// [TooLargeError], or says that the object lacks what every stored object has.
func (s *Sealer) Seal(source Source, object []byte) (*corev1.Secret, error) {
	h, err := headerFor(source, object)
	if err != nil {
		return nil, err
	}
	if len(object) > maxObject {
		return nil, &TooLargeError{Size: len(object), Limit: maxObject}
	}
	payload := s.encoder.EncodeAll(object, nil)
	if len(payload) > maxPayload {
		return nil, &TooLargeError{Size: len(payload), Limit: maxPayload}
	}
	about, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header of %s: %w", &h, err)
	}
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   v1alpha1.Namespace,
			Name:        h.SecretName(),
			Labels:      map[string]string{v1alpha1.LabelBackupCell: h.BackupCell, v1alpha1.LabelSourceCell: h.SourceCell},
			Annotations: map[string]string{v1alpha1.AnnotationUnit: h.Unit, v1alpha1.AnnotationEnvelope: string(about)},
		},
		Type: v1alpha1.EnvelopeType,
		Data: map[string][]byte{DataKey: payload},
	}, nil
}

func headerFor(source Source, object []byte) (Header, error) {
	id, err := identify(object)
	if err != nil {
		return Header{}, err
	}
	h := Header{
		Resource: source.Resource, Epoch: source.Epoch, Written: source.Written.UTC(), Hash: Hash(object),
		Unit: source.Unit, SourceCell: source.Cell, BackupCell: source.BackupCell,
	}
	id.write(&h)
	if missing := h.missing(); missing != "" {
		return Header{}, fmt.Errorf("seal %s: it has no %s", &h, missing)
	}
	return h, nil
}
