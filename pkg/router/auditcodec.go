package router

import (
	"encoding/json"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
)

// auditCodecs write an object into an event as it is, as JSON and in its own version.
type auditCodecs struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes is JSON alone: the log's own.
func (auditCodecs) SupportedMediaTypes() []runtime.SerializerInfo {
	return []runtime.SerializerInfo{{MediaType: runtime.ContentTypeJSON}}
}

// EncoderForVersion converts nothing.
func (auditCodecs) EncoderForVersion(runtime.Encoder, runtime.GroupVersioner) runtime.Encoder {
	return auditEncoder{}
}

type auditEncoder struct{}

func (auditEncoder) Encode(object runtime.Object, w io.Writer) error {
	return json.NewEncoder(w).Encode(object)
}

func (auditEncoder) Identifier() runtime.Identifier { return "audit" }
