// Package naming reads an object's name out of a request's body, and draws the name where the client
// asks the server to (generateName): the router must know it, since the name decides the cell.
//
// It understands the encodings that an apiserver accepts for writes, but CBOR, and leaves every byte
// of a body alone that names its object itself.
package naming

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// ErrUnsupported is returned for a body whose encoding is not understood; the answer is 415.
var ErrUnsupported = errors.New("the body of the request was in an unknown format")

// Body is the body of a create.
type Body struct {
	// ContentType of Data.
	ContentType string
	// Data as the client sent it, or with the drawn name in it.
	Data []byte
	// Name of the object; empty where the client gave neither name nor generateName.
	Name string
	// Generated is true where the name was drawn here.
	Generated bool
}

// Read finds the name in data, and draws one where metadata.generateName asks for it.
func Read(contentType string, data []byte) (Body, error) {
	media, _ := wire.MediaType(contentType)
	switch media {
	case runtime.ContentTypeJSON:
		return readJSON(contentType, data)
	case runtime.ContentTypeYAML:
		converted, err := yaml.YAMLToJSON(data)
		if err != nil {
			return Body{}, fmt.Errorf("parse YAML: %w", err)
		}
		body, err := readJSON(contentType, converted)
		if err == nil && !body.Generated {
			body.Data = data
		} else if err == nil {
			body.ContentType = runtime.ContentTypeJSON
		}
		return body, err
	case runtime.ContentTypeProtobuf:
		return readProtobuf(contentType, data)
	}
	return Body{}, fmt.Errorf("content type %q: %w", contentType, ErrUnsupported)
}

type namedJSON struct {
	Metadata metadataJSON `json:"metadata"`
}

// namesJSON are what metadata says of an object's name.
type namesJSON struct {
	Name         string `json:"name"`
	GenerateName string `json:"generateName"`
}

// metadataJSON are an object's names as built-in kinds are decoded, which merge metadata that is given twice, and the last
// of them, which counts for custom resources.
type metadataJSON struct {
	namesJSON
	last namesJSON
}

// UnmarshalJSON is called for each metadata that an object has.
func (m *metadataJSON) UnmarshalJSON(data []byte) error {
	m.last = namesJSON{}
	if err := kjson.Unmarshal(data, &m.last); err != nil {
		return err
	}
	return kjson.Unmarshal(data, &m.namesJSON)
}

func readJSON(contentType string, data []byte) (Body, error) {
	var named namedJSON
	// The apiserver's own decoder: encoding/json would take a field "Name" for the name.
	if err := kjson.Unmarshal(data, &named); err != nil {
		return Body{}, fmt.Errorf("parse JSON: %w", err)
	}
	if named.Metadata.namesJSON != named.Metadata.last {
		return Body{}, errors.New("metadata is given twice, and its names depend on which of them counts")
	}
	body := Body{ContentType: contentType, Data: data, Name: named.Metadata.Name}
	if body.Name != "" || named.Metadata.GenerateName == "" {
		return body, nil
	}
	body.Name, body.Generated = draw(named.Metadata.GenerateName), true
	var object, metadata map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return Body{}, fmt.Errorf("parse JSON: %w", err)
	}
	if err := json.Unmarshal(object["metadata"], &metadata); err != nil {
		return Body{}, fmt.Errorf("parse metadata: %w", err)
	}
	var err error
	if metadata["name"], err = json.Marshal(body.Name); err != nil {
		return Body{}, fmt.Errorf("write name: %w", err)
	}
	if object["metadata"], err = json.Marshal(metadata); err != nil {
		return Body{}, fmt.Errorf("write name: %w", err)
	}
	if body.Data, err = json.Marshal(object); err != nil {
		return Body{}, fmt.Errorf("write name: %w", err)
	}
	return body, nil
}

func draw(base string) string {
	return names.SimpleNameGenerator.GenerateName(base)
}

// protobufMagic begins every Kubernetes object in protobuf; a runtime.Unknown follows it, whose Raw
// field is the object. See k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
func protobufMagic() []byte { return []byte{'k', '8', 's', 0} }

// readProtobuf relies on what holds for every kind in the Kubernetes API: field 1 of the message is
// its ObjectMeta. PartialObjectMetadata is the message that has that field and no other.
func readProtobuf(contentType string, data []byte) (Body, error) {
	raw, ok := bytes.CutPrefix(data, protobufMagic())
	if !ok {
		return Body{}, fmt.Errorf("protobuf without its magic number: %w", ErrUnsupported)
	}
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(raw); err != nil {
		return Body{}, fmt.Errorf("parse protobuf: %w", err)
	}
	var named metav1.PartialObjectMetadata
	if err := named.Unmarshal(unknown.Raw); err != nil {
		return Body{}, fmt.Errorf("parse protobuf: %w", err)
	}
	body := Body{ContentType: contentType, Data: data, Name: named.Name}
	if body.Name != "" || named.GenerateName == "" {
		return body, nil
	}
	body.Name, body.Generated = draw(named.GenerateName), true
	// A decoder merges a message's second value over its first: to set the name, a second ObjectMeta
	// (field 1 of the object) that has a name (field 1 of ObjectMeta) and nothing else is enough.
	name := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), body.Name)
	unknown.Raw = protowire.AppendTag(bytes.Clone(unknown.Raw), 1, protowire.BytesType)
	unknown.Raw = protowire.AppendBytes(unknown.Raw, name)
	encoded, err := unknown.Marshal()
	if err != nil {
		return Body{}, fmt.Errorf("write name: %w", err)
	}
	body.Data = append(protobufMagic(), encoded...)
	return body, nil
}
