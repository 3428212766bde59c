package wire

import (
	"mime"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// MediaType is how a body of a request is encoded, by its Content-Type: JSON, YAML or protobuf, or one of the
// patches in JSON and YAML. It is false for what no apiserver takes, and for CBOR, which is not understood here.
//
// Whoever looks into a body goes by this one, so that all see what the apiserver will see. It takes the type of a
// patch to be whatever is before the first semicolon, letter by letter, and all others as MIME has them.
func MediaType(contentType string) (string, bool) {
	if contentType == "" {
		return runtime.ContentTypeJSON, true
	}
	patch, _, _ := strings.Cut(contentType, ";")
	switch types.PatchType(patch) {
	case types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType:
		return patch, true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", false
	}
	switch media {
	case runtime.ContentTypeJSON, runtime.ContentTypeYAML, runtime.ContentTypeProtobuf:
		return media, true
	}
	return "", false
}
