package wire_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// parse reads JSON as Kubernetes does.
func parse(data []byte) (any, bool) {
	var out any
	err := kjson.UnmarshalCaseSensitivePreserveInts(data, &out)
	return out, err == nil
}

// stamp gives the model of an object a version, and says whether it can have one.
func stamp(object any, version string) bool {
	fields, ok := object.(map[string]any)
	if !ok {
		return false
	}
	switch metadata := fields["metadata"].(type) {
	case nil:
		fields["metadata"] = map[string]any{"resourceVersion": version}
	case map[string]any:
		metadata["resourceVersion"] = version
	default:
		return false
	}
	return true
}

// stampTable does so with a Table's rows.
func stampTable(object any, version string) bool {
	rows, ok := object.(map[string]any)["rows"].([]any)
	if !ok {
		return object.(map[string]any)["rows"] == nil
	}
	for _, row := range rows {
		fields, ok := row.(map[string]any)
		if !ok {
			return false
		}
		if fields["object"] != nil && !stamp(fields["object"], version) {
			return false
		}
	}
	return true
}

func text(object any, key string) string {
	fields, _ := object.(map[string]any)
	out, _ := fields[key].(string)
	return out
}

// FuzzJSONVersions checks that of anything that Kubernetes reads as an object only the version changes.
func FuzzJSONVersions(f *testing.F) {
	for _, object := range objects(full()) {
		f.Add(encode(f, wire.JSON, object))
	}
	f.Add([]byte(`{"metadata":{"resourceVersion":"1","annotations":{"a":null}},"metadata":null,"m\u0065tadata":{"name":"\ud800"}}`))
	f.Add([]byte(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","rows":[{"object":null,"cells":[]},{"object":{}}],"metadata":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		meta, metaErr := wire.JSON.ReadMeta(data)
		got, err := wire.JSON.AppendVersioned(nil, data, func(wire.Meta) string { return "55" })
		want, valid := parse(data)
		fields, isObject := want.(map[string]any)
		if !valid || !isObject {
			return
		}
		if text(want, "kind") == "Status" && text(want, "apiVersion") == "v1" {
			if !bytes.Equal(got, data) {
				t.Errorf("a Status has changed")
			}
			return
		}
		isTable := text(want, "kind") == "Table" && strings.HasPrefix(text(want, "apiVersion"), "meta.k8s.io/")
		if !isTable && metaErr == nil {
			if name := text(fields["metadata"], "name"); name != meta.Name {
				t.Errorf("name is %q; want %q", meta.Name, name)
			}
		}
		ok := stamp(want, "55") && (!isTable || stampTable(want, "55"))
		if !ok {
			return
		}
		if err != nil {
			// What follows a key that is there again is not seen by the model.
			if strings.Count(string(data), "etadata")+strings.Count(string(data), "rows")+strings.Count(string(data), "object")+bytes.Count(data, []byte(`\u`)) > 1 {
				return
			}
			t.Fatalf("%v", err)
		}
		after, valid := parse(got)
		if !valid || !reflect.DeepEqual(want, after) {
			t.Errorf("%s (-want +got):\n%s", got, cmp.Diff(want, after))
		}
	})
}

// FuzzProtobufVersions checks the same of protobuf, with a message of metadata alone.
func FuzzProtobufVersions(f *testing.F) {
	for name, object := range objects(full()) {
		if len(formatsOf(name)) == 2 {
			f.Add(encode(f, wire.Protobuf, object))
		}
	}
	f.Add(wire.Protobuf.Bookmark("v1", "Pod", "7", true))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = wire.Protobuf.ReadMeta(data)
		_, _ = wire.RewriteVersions(runtime.ContentTypeProtobuf, data, prefixed)
		got, err := wire.Protobuf.AppendVersioned(nil, data, func(wire.Meta) string { return "55" })
		want, ok := partial(data)
		if !ok || err != nil || want.Kind == "Status" {
			return
		}
		want.ResourceVersion = "55"
		after, ok := partial(got)
		if !ok || !reflect.DeepEqual(want, after) {
			t.Errorf("(-want +got):\n%s", cmp.Diff(want, after))
		}
	})
}

// partial decodes the metadata of an object in protobuf.
func partial(data []byte) (*metav1.PartialObjectMetadata, bool) {
	if !bytes.HasPrefix(data, []byte("k8s\x00")) {
		return nil, false
	}
	var unknown runtime.Unknown
	if unknown.Unmarshal(data[4:]) != nil {
		return nil, false
	}
	out := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: unknown.Kind, APIVersion: unknown.APIVersion}}
	return out, out.Unmarshal(unknown.Raw) == nil
}

// FuzzListReader checks that a list has all of its items however it comes, and none that is cut is taken for whole.
func FuzzListReader(f *testing.F) {
	for _, list := range []runtime.Object{configMaps(3, 20), widgets(2), rows(2), partials(2)} {
		f.Add(encode(f, wire.JSON, list), true)
	}
	f.Add(encode(f, wire.Protobuf, configMaps(3, 20)), false)
	f.Add([]byte(`{"items":null,"kind":"List"}`), true)
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		format := wire.Protobuf
		if isJSON {
			format = wire.JSON
		}
		names, raws, list, err := readAll(format, bytes.NewReader(data))
		slowNames, slowRaws, slowList, slowErr := readAll(format, iotest.OneByteReader(bytes.NewReader(data)))
		if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual([]any{names, raws, list}, []any{slowNames, slowRaws, slowList}) {
			t.Errorf("at once: %v, %v; byte by byte: %v, %v", names, err, slowNames, slowErr)
		}
		if err != nil || !isJSON || !json.Valid(data) {
			return
		}
		var want struct {
			Items, Rows []json.RawMessage
		}
		if kjson.UnmarshalCaseSensitivePreserveInts(lowerless(data), &want) != nil {
			return
		}
		if len(want.Items)+len(want.Rows) != len(raws) {
			t.Errorf("%d items; want %d", len(raws), len(want.Items)+len(want.Rows))
		}
		trimmed := bytes.TrimSpace(data)
		if _, _, _, err := readAll(format, bytes.NewReader(trimmed[:len(trimmed)-1])); err == nil {
			t.Errorf("a list without its end is taken for whole")
		}
	})
}

// lowerless gives the keys of a list the names that the model's fields have without tags.
func lowerless(data []byte) []byte {
	return []byte(strings.NewReplacer(`"items"`, `"Items"`, `"rows"`, `"Rows"`, `"Items"`, `"-"`, `"Rows"`, `"-"`).Replace(string(data)))
}

// FuzzFrameReader checks that watches are read alike however they come.
func FuzzFrameReader(f *testing.F) {
	for _, format := range []wire.Format{wire.JSON, wire.Protobuf} {
		event := format.AppendEvent(nil, "ADDED", encode(f, format, objects(full())["Pod"]))
		f.Add(append(event, event...), format == wire.JSON)
	}
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		format := wire.Protobuf
		if isJSON {
			format = wire.JSON
		}
		fast, slow := wire.NewFrameReader(format, bytes.NewReader(data)), wire.NewFrameReader(format, iotest.OneByteReader(bytes.NewReader(data)))
		for {
			a, err := fast.Next()
			b, slowErr := slow.Next()
			if (err == nil) != (slowErr == nil) || err == nil && !reflect.DeepEqual(a, b) {
				t.Fatalf("at once: %+v, %v; byte by byte: %+v, %v", a, err, b, slowErr)
			}
			if err != nil {
				return
			}
		}
	})
}

// FuzzPatch checks that in what a client sends only versions change, and all that count.
func FuzzPatch(f *testing.F) {
	for _, body := range []string{
		`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"","value":{"metadata":{"resourceVersion":"8"}}}]`,
		`{"kind":"DeleteOptions","preconditions":{"resourceVersion":"7"}}`,
		`{"kind":"Eviction","apiVersion":"policy/v1","metadata":{"resourceVersion":"7"},"deleteOptions":{"preconditions":{"resourceVersion":"7"}}}`,
		`{"metadata":{"resource\u0056ersion":"7","resourceVersion":"","x":{"resourceVersion":"9"}}}`,
	} {
		for kind := range contentTypes() {
			f.Add([]byte(body), kind)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, kind int) {
		if kind < 0 || kind >= len(contentTypes()) {
			return
		}
		contentType := contentTypes()[kind]
		got, err := wire.RewriteVersions(contentType, body, prefixed)
		if err != nil {
			t.Fatal(err)
		}
		want, valid := parse(body)
		if !valid || repeats(body) {
			return
		}
		translateModel(contentType, want)
		after, valid := parse(got)
		if !valid || !reflect.DeepEqual(want, after) {
			t.Errorf("%s: %s (-want +got):\n%s", contentType, got, cmp.Diff(want, after))
		}
	})
}

func contentTypes() []string {
	return []string{"application/json", "application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml", "application/yaml"}
}

// repeats says whether an object in JSON has a key twice, which the model does not know.
func repeats(body []byte) bool {
	var out any
	strict, err := kjson.UnmarshalStrict(body, &out)
	return err != nil || len(strict) > 0
}

// translateModel does to a decoded body what RewriteVersions does to the encoded one.
func translateModel(contentType string, body any) {
	translate := func(object any, key string) {
		if fields, ok := object.(map[string]any); ok {
			if version, ok := fields[key].(string); ok && version != "" {
				fields[key], _ = prefixed(version)
			}
		}
	}
	at := func(object any, key string) any {
		fields, _ := object.(map[string]any)
		return fields[key]
	}
	if contentType == "application/json-patch+json" {
		operations, _ := body.([]any)
		for _, operation := range operations {
			if path, ok := at(operation, "path").(string); ok {
				switch path {
				case "/metadata/resourceVersion":
					translate(operation, "value")
				case "/metadata":
					translate(at(operation, "value"), "resourceVersion")
				case "":
					translate(at(at(operation, "value"), "metadata"), "resourceVersion")
				}
			}
		}
		return
	}
	translate(at(body, "metadata"), "resourceVersion")
	if strings.Contains(contentType, "patch") {
		return
	}
	fields, _ := body.(map[string]any)
	_, hasMetadata := fields["metadata"]
	if kind := text(body, "kind"); !hasMetadata && (kind == "" || kind == "DeleteOptions") {
		translate(at(body, "preconditions"), "resourceVersion")
	}
	if kind := text(body, "kind"); kind == "" || kind == "Eviction" && strings.HasPrefix(text(body, "apiVersion"), "policy/") {
		translate(at(at(body, "deleteOptions"), "preconditions"), "resourceVersion")
	}
}
