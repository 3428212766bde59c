package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// claim is what a body makes of a mark.
type claim struct {
	mark
	// value is nil where the mark is taken away.
	value *string
	// unknown is true where the value is not in the body; it is never the one that is there.
	unknown bool
	// implied is true where the mark is not named, but taken away with all labels or annotations.
	implied bool
}

// holds says whether the claim leaves the object as it is.
func (c claim) holds(live metav1.Object) bool {
	value := c.of(live)
	if c.unknown || value == nil || c.value == nil {
		return !c.unknown && value == nil && c.value == nil
	}
	return *value == *c.value
}

// claimsOf returns what a body makes of marks. Of one that is not well-formed there are none: the apiserver
// refuses it. Where a key is there twice, all that it could mean is claimed.
func claimsOf(media string, body []byte) ([]claim, error) {
	switch {
	case media == "":
		return nil, nil
	case media == runtime.ContentTypeProtobuf:
		return claimsInProtobuf(body), nil
	case strings.HasSuffix(media, "yaml"):
		converted, err := yaml.YAMLToJSON(body)
		if err != nil {
			return nil, nil //nolint:nilerr // the apiserver says what is wrong with it
		}
		body = converted
	}
	if !json.Valid(body) {
		return nil, nil
	}
	if media == string(types.JSONPatchType) {
		return claimsInOperations(body)
	}
	var object markedObject
	if err := kjson.Unmarshal(body, &object); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	claims := object.claims()
	if media == runtime.ContentTypeJSON || media == runtime.ContentTypeYAML {
		// The object itself and no patch: a null takes nothing away there, it is the empty string.
		claims = slices.DeleteFunc(claims, func(c claim) bool { return c.implied })
		for i := range claims {
			if claims[i].value == nil {
				claims[i].value = new(string)
			}
		}
	}
	return claims, nil
}

// markedObject is what can carry marks, as a whole object or as a patch of one. The fields that begin with a
// dollar are directives of a strategic merge patch, either of which drops what the patch does not name.
type markedObject struct {
	Metadata   markedMeta      `json:"metadata"`
	Patch      json.RawMessage `json:"$patch"`
	RetainKeys json.RawMessage `json:"$retainKeys"`
}

func (o *markedObject) claims() []claim {
	o.Metadata.replaced = o.Metadata.replaced || o.Patch != nil || o.RetainKeys != nil
	return o.Metadata.claims()
}

type markedMeta struct {
	Labels      markedMap       `json:"labels"`
	Annotations markedMap       `json:"annotations"`
	Patch       json.RawMessage `json:"$patch"`
	RetainKeys  json.RawMessage `json:"$retainKeys"`
	// replaced is true where nothing is left but what is named.
	replaced bool
}

// UnmarshalJSON reads one more value of the same key.
func (m *markedMeta) UnmarshalJSON(data []byte) error {
	m.replaced = m.replaced || isNull(data)
	type fields markedMeta // without this method
	return kjson.Unmarshal(data, (*fields)(m))
}

func (m *markedMeta) claims() []claim {
	all := m.replaced || m.Patch != nil || m.RetainKeys != nil
	m.Labels.replaced = m.Labels.replaced || all
	m.Annotations.replaced = m.Annotations.replaced || all
	return append(m.Labels.claims(false), m.Annotations.claims(true)...)
}

// markedMap is the labels or annotations of a body.
type markedMap struct {
	values map[string]*string
	// replaced is true where nothing is left but values.
	replaced bool
}

// UnmarshalJSON reads one more value of the same key.
func (m *markedMap) UnmarshalJSON(data []byte) error {
	m.replaced = m.replaced || isNull(data)
	var values map[string]json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	if m.values == nil {
		m.values = make(map[string]*string, len(values))
	}
	for key, raw := range values {
		if key == "$patch" || key == "$retainKeys" {
			m.replaced = true
			continue
		}
		var value *string
		if err := json.Unmarshal(raw, &value); err != nil {
			return err
		}
		m.values[key] = value
	}
	return nil
}

func (m *markedMap) claims(annotations bool) []claim {
	var out []claim
	for _, reserved := range reservedMarks() {
		if reserved.annotation != annotations {
			continue
		}
		value, named := m.values[reserved.key]
		if named || m.replaced {
			out = append(out, claim{mark: reserved, value: value, implied: !named})
		}
	}
	return out
}

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// claimsInProtobuf reads the metadata, which is field 1 of every kind in the Kubernetes API.
func claimsInProtobuf(body []byte) []claim {
	raw, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	var unknown runtime.Unknown
	var object metav1.PartialObjectMetadata
	if !ok || unknown.Unmarshal(raw) != nil || object.Unmarshal(unknown.Raw) != nil {
		return nil
	}
	var out []claim
	for _, reserved := range reservedMarks() {
		if value := reserved.of(&object); value != nil {
			out = append(out, claim{mark: reserved, value: value})
		}
	}
	return out
}

// operation is one of a JSON patch.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from"`
	Value json.RawMessage `json:"value"`
}

// claimsInOperations reads a JSON patch. Each operation makes claims of its own, whatever follows it.
func claimsInOperations(body []byte) ([]claim, error) {
	var operations []operation
	if err := kjson.Unmarshal(body, &operations); err != nil {
		return nil, fmt.Errorf("error decoding patch: %w", err)
	}
	var out []claim
	for _, o := range operations {
		var claims []claim
		var err error
		switch o.Op {
		case "add", "replace":
			if claims, err = claimsAt(o.Path, o.Value); err != nil {
				return nil, err
			}
		case "remove":
			claims = claimsWithout(o.Path)
		case "move", "copy":
			for _, c := range claimsWithout(o.Path) {
				out = append(out, claim{mark: c.mark, unknown: true})
			}
			if o.Op == "move" {
				claims = claimsWithout(o.From)
			}
		}
		out = append(out, claims...)
	}
	return out, nil
}

// pointer returns the steps of a JSON pointer as an apiserver takes them: what is before the first slash
// does not matter to it.
func pointer(path string) []string {
	steps := strings.Split(path, "/")[1:]
	for i := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[i])
	}
	return steps
}

// claimsWithout returns what becomes of marks where the value at a pointer is removed.
func claimsWithout(path string) []claim {
	steps := pointer(path)
	var out []claim
	for _, m := range reservedMarks() {
		at := []string{"metadata", "labels", m.key}
		if m.annotation {
			at[1] = "annotations"
		}
		if len(steps) <= len(at) && slices.Equal(steps, at[:len(steps)]) {
			out = append(out, claim{mark: m, implied: len(steps) < len(at)})
		}
	}
	return out
}

// claimsAt returns what becomes of marks where the value at a pointer is another one.
func claimsAt(path string, value json.RawMessage) ([]claim, error) {
	claims := claimsWithout(path)
	if len(claims) == 0 {
		return nil, nil
	}
	steps := pointer(path)
	var err error
	var object markedObject
	switch len(steps) {
	case 0:
		err = kjson.Unmarshal(value, &object)
	case 1:
		err = kjson.Unmarshal(value, &object.Metadata)
	case 2:
		var marks markedMap
		err = kjson.Unmarshal(value, &marks)
		object.Metadata.Labels, object.Metadata.Annotations = marks, marks
	default:
		var text string
		claims[0].unknown = isNull(value) || json.Unmarshal(value, &text) != nil
		claims[0].value = &text
		return claims, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read value at %q of JSON patch: %w", path, err)
	}
	object.Metadata.replaced = true
	return slices.DeleteFunc(object.claims(), func(c claim) bool {
		return !slices.ContainsFunc(claims, func(at claim) bool { return at.mark == c.mark })
	}), nil
}
