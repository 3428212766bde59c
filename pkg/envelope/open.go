package envelope

import (
	"github.com/klauspost/compress/zstd"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Envelope is a backup of one object.
type Envelope struct {
	Header
	// Object is its JSON, as its cell served it.
	Object []byte
}

// Open takes the object out of a Secret and checks it. The error is a [CorruptError].
func Open(secret *corev1.Secret) (*Envelope, error) {
	corrupt := func(problem string, cause error) (*Envelope, error) {
		return nil, &CorruptError{Name: secret.Name, Problem: problem, Cause: cause}
	}
	if secret.Type != v1alpha1.EnvelopeType {
		return corrupt("it is a Secret of type "+string(secret.Type), nil)
	}
	h, err := HeaderOf(secret)
	if err != nil {
		return nil, err
	}
	object, err := decompress(secret.Data[DataKey])
	if err != nil {
		return corrupt("its object cannot be decompressed", err)
	}
	if Hash(object) != h.Hash {
		return corrupt("its object does not have the hash that the header says", nil)
	}
	id, err := identify(object)
	if err != nil {
		return corrupt("its object does not parse", err)
	}
	if field := id.contradicts(&h); field != "" {
		return corrupt("its object and its header disagree about "+field, nil)
	}
	return &Envelope{Header: h, Object: object}, nil
}

// decompress allocates no more than the object takes, and fails where that is more than any envelope holds.
func decompress(payload []byte) ([]byte, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxObject))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	return decoder.DecodeAll(payload, nil)
}
