package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// stream is a watch as an apiserver writes it.
func stream(t *testing.T, f wire.Format, types []string, events []runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	var encoder streaming.Encoder
	if f == wire.JSON {
		encoder = streaming.NewEncoder(&out, serializer(wire.JSON))
	} else {
		encoder = streaming.NewEncoder(protobuf.LengthDelimitedFramer.NewFrameWriter(&out), protobuf.NewRawSerializer(nil, nil))
	}
	for i, object := range events {
		event := &metav1.WatchEvent{Type: types[i], Object: runtime.RawExtension{Raw: encode(t, f, object)}}
		if err := encoder.Encode(event); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func TestWatchesAreReadAndWrittenEventByEvent(t *testing.T) {
	types := []string{"ADDED", "MODIFIED", "DELETED", "ERROR"}
	events := []runtime.Object{objects(full())["Pod"], configMaps(1, 300000).Items[0].DeepCopy(), objects(full())["PartialObjectMetadata"],
		&metav1.Status{TypeMeta: typed("Status", "v1"), ListMeta: metav1.ListMeta{ResourceVersion: "3"}, Code: 410, Message: "too old"}}
	events[1].GetObjectKind().SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("ConfigMap"))
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		data := stream(t, f, types, events)
		for how, r := range map[string]io.Reader{"at once": bytes.NewReader(data), "byte by byte": iotest.OneByteReader(bytes.NewReader(data))} {
			reader := wire.NewFrameReader(f, r)
			var written []byte
			for i, object := range events {
				event, err := reader.Next()
				if err != nil {
					t.Fatalf("format %d %s: %v", f, how, err)
				}
				if want := bytes.TrimSpace(encode(t, f, object)); event.Type != types[i] || !bytes.Equal(bytes.TrimSpace(event.Object), want) {
					t.Errorf("format %d: event %d is %s %.200q; want %s %.200q", f, i, event.Type, event.Object, types[i], want)
				}
				want, err := f.ReadMeta(event.Object)
				if err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(want, event.Meta); diff != "" {
					t.Errorf("format %d: metadata (-want +got):\n%s", f, diff)
				}
				if (event.Type == "ERROR") != (event.Meta == wire.Meta{}) {
					t.Errorf("format %d: %s has %+v", f, event.Type, event.Meta)
				}
				written = f.AppendEvent(written, event.Type, event.Object)
			}
			if _, err := reader.Next(); !errors.Is(err, io.EOF) || err != io.EOF { //nolint:errorlint // io.EOF itself
				t.Errorf("format %d: end is %v; want io.EOF", f, err)
			}
			if f == wire.Protobuf && !bytes.Equal(written, data) {
				t.Errorf("protobuf: written differently")
			}
			if f == wire.JSON && !bytes.Equal(bytes.ReplaceAll(written, []byte("\n"), nil), bytes.ReplaceAll(data, []byte("\n"), nil)) {
				t.Errorf("JSON: written differently")
			}
		}
	}
}

// TestAnEventIsNotHeldBack reads from a stream that says nothing further.
func TestAnEventIsNotHeldBack(t *testing.T) {
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		in, out := io.Pipe()
		go func() {
			_, _ = out.Write(bytes.TrimSpace(f.AppendEvent(nil, "ADDED", encode(t, f, objects(full())["Pod"]))))
		}()
		event, err := wire.NewFrameReader(f, in).Next()
		if err != nil || event.Meta.Name != "x" {
			t.Errorf("format %d: %+v, %v", f, event.Meta, err)
		}
	}
}

func TestAWatchThatBreaksOffIsAnError(t *testing.T) {
	for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
		data := bytes.TrimSpace(f.AppendEvent(nil, "ADDED", encode(t, f, objects(full())["Pod"])))
		for n := 1; n < len(data); n++ {
			if _, err := wire.NewFrameReader(f, bytes.NewReader(data[:n])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("format %d: %d bytes of %d: %v; want an unexpected end", f, n, len(data), err)
			}
		}
	}
	for name, data := range map[string]string{"not JSON": "]", "no object": `{"type":"ADDED","object":7}`, "letters": "abc"} {
		if _, err := wire.NewFrameReader(wire.JSON, bytes.NewReader([]byte(data))).Next(); err == nil || errors.Is(err, io.EOF) && name != "letters" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := wire.NewFrameReader(wire.Protobuf, bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})).Next(); err == nil {
		t.Error("a frame of 4 GiB is read")
	}
}

func TestBookmarksDecode(t *testing.T) {
	for _, end := range []bool{false, true} {
		want := metav1.ObjectMeta{ResourceVersion: "77"}
		if end {
			want.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		}
		for _, f := range []wire.Format{wire.JSON, wire.Protobuf} {
			for name := range map[string]bool{"Pod": true, "PartialObjectMetadata": true, "custom resource": f == wire.JSON} {
				if name == "custom resource" && f != wire.JSON {
					continue
				}
				kind := objects(full())[name].GetObjectKind().GroupVersionKind()
				data := f.Bookmark(kind.GroupVersion().String(), kind.Kind, "77", end)
				object := decode(t, f, data)
				if object.GetObjectKind().GroupVersionKind() != kind {
					t.Errorf("%s: kind is %v", name, object.GetObjectKind().GroupVersionKind())
				}
				meta, err := f.ReadMeta(data)
				if diff := cmp.Diff(wire.Meta{ResourceVersion: "77", InitialEventsEnd: end}, meta); diff != "" || err != nil {
					t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
				}
				if accessor, ok := object.(metav1.ObjectMetaAccessor); ok {
					if _, isUnstructured := object.(*unstructured.Unstructured); !isUnstructured {
						if diff := cmp.Diff(want.Annotations, accessor.GetObjectMeta().GetAnnotations()); diff != "" {
							t.Error(diff)
						}
					}
				}
			}
		}
		data := wire.JSON.Bookmark("meta.k8s.io/v1", "Table", "77", end)
		got, ok := decode(t, wire.JSON, data).(*metav1.Table)
		meta, err := wire.JSON.ReadMeta(data)
		if !ok || got.ResourceVersion != "77" || len(got.Rows) != 1 || err != nil || meta.InitialEventsEnd != end || meta.ResourceVersion != "77" {
			t.Errorf("Table: %s, %v", data, err)
		}
	}
}
