package router

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// withFinalizer adds to the body of a create the finalizer that the push of the first copy would give
// the object: so the client gets it with the version that it has, and may update it at once. A body
// that it does not understand it leaves as it is; the push comes later all the same.
func withFinalizer(r *http.Request) (*http.Request, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	media, _ := wire.MediaType(r.Header.Get("Content-Type"))
	switch media {
	case runtime.ContentTypeJSON:
		data = finalizerIntoJSON(data)
	case runtime.ContentTypeProtobuf:
		data = finalizerIntoProtobuf(data)
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(data))
	out.ContentLength = int64(len(data))
	out.TransferEncoding = nil
	return out, nil
}

// finalizerIntoJSON inserts the finalizer and moves no other byte, so that the apiserver still finds
// whatever is wrong with the rest.
func finalizerIntoJSON(data []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(data))
	if !json.Valid(data) || !enter(d, '{') || !seek(d, "metadata") || !enter(d, '{') {
		return data
	}
	at, first := d.InputOffset(), !d.More()
	if !seek(d, "finalizers") {
		return insert(data, at, `"finalizers":["`+v1alpha1.FinalizerCells+`"]`, first)
	}
	if !enter(d, '[') {
		return data
	}
	at, first = d.InputOffset(), !d.More()
	for d.More() {
		var had any
		if err := d.Decode(&had); err != nil || had == v1alpha1.FinalizerCells {
			return data
		}
	}
	return insert(data, at, `"`+v1alpha1.FinalizerCells+`"`, first)
}

// enter is true where the next token opens an object or an array.
func enter(d *json.Decoder, open json.Delim) bool {
	token, err := d.Token()
	return err == nil && token == open
}

// seek reads an object up to the value of a key; false where there is none.
func seek(d *json.Decoder, key string) bool {
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if token == key {
			return true
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return false
		}
	}
	return false
}

// insert puts text, the first or another element, at an offset.
func insert(data []byte, at int64, text string, only bool) []byte {
	if !only {
		text += ","
	}
	return slices.Concat(data[:at], []byte(text), data[at:])
}

// finalizerIntoProtobuf appends a second ObjectMeta, field 1 of every kind, that has the finalizer
// (field 14 of ObjectMeta) and nothing else: a decoder merges it into the first.
func finalizerIntoProtobuf(data []byte) []byte {
	magic := []byte{'k', '8', 's', 0}
	raw, ok := bytes.CutPrefix(data, magic)
	var unknown runtime.Unknown
	var object metav1.PartialObjectMetadata
	if !ok || unknown.Unmarshal(raw) != nil || object.Unmarshal(unknown.Raw) != nil ||
		slices.Contains(object.Finalizers, v1alpha1.FinalizerCells) {
		return data
	}
	meta := protowire.AppendString(protowire.AppendTag(nil, 14, protowire.BytesType), v1alpha1.FinalizerCells)
	unknown.Raw = protowire.AppendTag(bytes.Clone(unknown.Raw), 1, protowire.BytesType)
	unknown.Raw = protowire.AppendBytes(unknown.Raw, meta)
	encoded, err := unknown.Marshal()
	if err != nil {
		return data
	}
	return append(magic, encoded...)
}
