package naming

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestReadNamesWithoutTouchingTheBody(t *testing.T) {
	tests := map[string]struct{ contentType, data string }{
		"JSON":             {"application/json", `{"kind":"ConfigMap", "metadata":{"name":"a","labels":{"x":"y"}}}`},
		"JSON, other case": {"application/json", `{"metadata":{"name":"a","Name":"b"},"Metadata":{"name":"c"}}`},
		"JSON, no type":    {"", `{"metadata":{"name":"a"}}`},
		"JSON with params": {"application/json; charset=utf-8", `{"metadata":{"name":"a","generateName":"b-"}}`},
		"metadata twice":   {"application/json", `{"metadata":{"name":"b","labels":{"x":"y"}},"metadata":{"name":"a"}}`},
		"YAML":             {"application/yaml", "kind: ConfigMap\nmetadata:\n  name: a # the name\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Read(test.contentType, []byte(test.data))
			want := Body{ContentType: test.contentType, Data: []byte(test.data), Name: "a"}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadDrawsAName(t *testing.T) {
	for contentType, data := range map[string]string{
		"application/json": `{"kind":"ConfigMap","metadata":{"generateName":"a-","labels":{"x":"z"}},"data":{"k":"1.0"}}`,
		"application/yaml": "kind: ConfigMap\nmetadata: {generateName: a-, labels: {x: z}}\ndata: {k: '1.0'}\n",
	} {
		got, err := Read(contentType, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Generated || !strings.HasPrefix(got.Name, "a-") || got.ContentType != "application/json" {
			t.Errorf("%s: %+v; want a generated name with prefix a-, as JSON", contentType, got)
		}
		want := `{"data":{"k":"1.0"},"kind":"ConfigMap","metadata":{"generateName":"a-","labels":{"x":"z"},"name":"` + got.Name + `"}}`
		if diff := cmp.Diff(want, string(got.Data)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", contentType, diff)
		}
	}
}

func encodeProtobuf(t *testing.T, obj runtime.Object) []byte {
	t.Helper()
	codec := scheme.Codecs.EncoderForVersion(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), schema.GroupVersion{Version: "v1"})
	data, err := runtime.Encode(codec, obj)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadProtobuf(t *testing.T) {
	in := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "a-", Namespace: "ns", Labels: map[string]string{"x": "y"}},
		Data:       map[string]string{"k": "v"},
	}
	got, err := Read(runtime.ContentTypeProtobuf, encodeProtobuf(t, in))
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := runtime.Decode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), got.Data)
	if err != nil {
		t.Fatal(err)
	}
	want := in.DeepCopy()
	want.Name = got.Name
	out := decoded.(*corev1.ConfigMap)
	out.TypeMeta = metav1.TypeMeta{}
	if diff := cmp.Diff(want, out); diff != "" || !strings.HasPrefix(got.Name, "a-") {
		t.Errorf("name %q, object (-want +got):\n%s", got.Name, diff)
	}

	named := encodeProtobuf(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}})
	got, err = Read(runtime.ContentTypeProtobuf, named)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Body{ContentType: runtime.ContentTypeProtobuf, Data: named, Name: "b"}, got); diff != "" {
		t.Errorf("named body (-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := map[string]struct {
		contentType, data string
		unsupported       bool
	}{
		"CBOR":                   {"application/cbor", "\xa0", true},
		"no media type":          {"///", "{}", true},
		"broken JSON":            {"application/json", "{", false},
		"metadata is a list":     {"application/json", `{"metadata":[]}`, false},
		"metadata that is null":  {"application/json", `{"metadata":{"name":"a"},"metadata":null}`, false},
		"a name that is gone":    {"application/json", `{"metadata":{"name":"a"},"metadata":{"generateName":"b-"}}`, false},
		"broken YAML":            {"application/yaml", "a: b: c", false},
		"protobuf without magic": {runtime.ContentTypeProtobuf, "xx", true},
		"truncated protobuf":     {runtime.ContentTypeProtobuf, "k8s\x00\x0a\xff", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Read(test.contentType, []byte(test.data))
			if err == nil || errors.Is(err, ErrUnsupported) != test.unsupported {
				t.Errorf("error = %v; want one, unsupported: %v", err, test.unsupported)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add("application/json", []byte(`{"metadata":{"generateName":"a-"}}`))
	f.Add("application/yaml", []byte("metadata:\n  name: x\n"))
	f.Add(runtime.ContentTypeProtobuf, []byte("k8s\x00\x0a\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		body, err := Read(contentType, data)
		if err != nil {
			return
		}
		again, err := Read(body.ContentType, body.Data)
		if err != nil || again.Name != body.Name || again.Generated {
			t.Errorf("reading the result again: %+v, %v; want name %q, not generated", again, err, body.Name)
		}
	})
}
