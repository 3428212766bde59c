package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// into returns the body of a write with what the target adds to it.
func (t target) into(media string, body []byte) ([]byte, error) {
	if t.epoch > 0 {
		placed := &metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationPlacementEpoch: strconv.FormatInt(t.epoch, 10)}}
		return withMarks(media, body, placed, []mark{{true, v1alpha1.AnnotationPlacementEpoch}})
	}
	if t.uid != "" && (media == runtime.ContentTypeJSON || media == runtime.ContentTypeProtobuf || strings.HasSuffix(media, "yaml")) {
		return withMarks(media, body, &metav1.ObjectMeta{UID: t.uid}, nil)
	}
	return body, nil
}

// withMarks returns the body of a whole object with marks of the live one in it, and its UID where that is set and the
// body has none. YAML comes back as JSON, which
// is YAML too.
func withMarks(media string, body []byte, live metav1.Object, marks []mark) ([]byte, error) {
	var err error
	if media == runtime.ContentTypeProtobuf {
		body, err = marksIntoProtobuf(body, live, marks)
	} else {
		if strings.HasSuffix(media, "yaml") {
			body, err = yaml.YAMLToJSON(body)
		}
		if err == nil {
			body, err = marksIntoJSON(body, live, marks)
		}
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("read metadata: %v", err))
	}
	return body, nil
}

func marksIntoJSON(body []byte, live metav1.Object, marks []mark) ([]byte, error) {
	var object, metadata map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	if raw, there := object["metadata"]; there {
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return nil, err
		}
	}
	if object == nil || metadata == nil {
		return body, nil // without a name: the apiserver refuses it
	}
	for _, m := range marks {
		field := "labels"
		if m.annotation {
			field = "annotations"
		}
		var values map[string]json.RawMessage
		if raw, there := metadata[field]; there {
			if err := json.Unmarshal(raw, &values); err != nil {
				return nil, err
			}
		}
		if values == nil {
			values = map[string]json.RawMessage{}
		}
		var err error
		if values[m.key], err = json.Marshal(*m.of(live)); err != nil {
			return nil, err
		}
		if metadata[field], err = json.Marshal(values); err != nil {
			return nil, err
		}
	}
	var err error
	// An empty one is none to an apiserver, and what is no string it refuses.
	var given types.UID
	if raw, there := metadata["uid"]; live.GetUID() != "" && (!there || json.Unmarshal(raw, &given) == nil && given == "") {
		if metadata["uid"], err = json.Marshal(live.GetUID()); err != nil {
			return nil, err
		}
	}
	if object["metadata"], err = json.Marshal(metadata); err != nil {
		return nil, err
	}
	return json.Marshal(object)
}

// marksIntoProtobuf appends a second ObjectMeta, field 1 of every kind, that has the marks and nothing else: a
// decoder merges it into the first. The UID is field 5 of ObjectMeta, labels are field 11, annotations field 12.
func marksIntoProtobuf(body []byte, live metav1.Object, marks []mark) ([]byte, error) {
	magic := []byte("k8s\x00")
	raw, ok := bytes.CutPrefix(body, magic)
	var unknown runtime.Unknown
	if !ok || unknown.Unmarshal(raw) != nil {
		return body, nil // the apiserver refuses it
	}
	var meta []byte
	var given metav1.PartialObjectMetadata
	if live.GetUID() != "" && given.Unmarshal(unknown.Raw) == nil && given.UID == "" {
		meta = protowire.AppendString(protowire.AppendTag(nil, 5, protowire.BytesType), string(live.GetUID()))
	}
	for _, m := range marks {
		field := protowire.Number(11)
		if m.annotation {
			field = 12
		}
		entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), m.key)
		entry = protowire.AppendString(protowire.AppendTag(entry, 2, protowire.BytesType), *m.of(live))
		meta = protowire.AppendBytes(protowire.AppendTag(meta, field, protowire.BytesType), entry)
	}
	unknown.Raw = protowire.AppendTag(bytes.Clone(unknown.Raw), 1, protowire.BytesType)
	unknown.Raw = protowire.AppendBytes(unknown.Raw, meta)
	encoded, err := unknown.Marshal()
	if err != nil {
		return nil, err
	}
	return append(magic, encoded...), nil
}
