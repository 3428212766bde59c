package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// readAll reads a list to its end.
func readAll(f wire.Format, r io.Reader) (names []string, raws [][]byte, list wire.ListMeta, err error) {
	reader := wire.NewListReader(f, r)
	for {
		item, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return names, raws, reader.List(), nil
		}
		if err != nil {
			return names, raws, reader.List(), err
		}
		names = append(names, item.Meta.Name)
		raws = append(raws, bytes.Clone(item.Raw))
	}
}

// configMaps is a list of n with something in each.
func configMaps(n, size int) *corev1.ConfigMapList {
	remaining := int64(12)
	out := &corev1.ConfigMapList{TypeMeta: typed("ConfigMapList", "v1"), ListMeta: metav1.ListMeta{ResourceVersion: "99", Continue: "more", RemainingItemCount: &remaining}, Items: []corev1.ConfigMap{}}
	for i := range n {
		meta := full()
		meta.Name = fmt.Sprintf("m-%06d", i)
		out.Items = append(out.Items, corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"k": strings.Repeat(`]},{"`, size/5)}})
	}
	return out
}

func widgets(n int) *unstructured.UnstructuredList {
	out := &unstructured.UnstructuredList{Object: map[string]any{"kind": "WidgetList", "apiVersion": "example.com/v1", "metadata": map[string]any{"resourceVersion": "99", "continue": "more", "remainingItemCount": int64(12)}}}
	for i := range n {
		widget := objects(full())["custom resource"].(*unstructured.Unstructured)
		widget.SetName(fmt.Sprintf("m-%06d", i))
		out.Items = append(out.Items, *widget)
	}
	return out
}

func partials(n int) *metav1.PartialObjectMetadataList {
	out := &metav1.PartialObjectMetadataList{TypeMeta: typed("PartialObjectMetadataList", "meta.k8s.io/v1"), ListMeta: configMaps(0, 0).ListMeta, Items: []metav1.PartialObjectMetadata{}}
	for _, m := range configMaps(n, 0).Items {
		out.Items = append(out.Items, metav1.PartialObjectMetadata{ObjectMeta: m.ObjectMeta})
	}
	return out
}

func rows(n int) *metav1.Table {
	out := table("99")
	for _, m := range configMaps(n, 0).Items {
		row := table("99", &metav1.PartialObjectMetadata{TypeMeta: typed("PartialObjectMetadata", "meta.k8s.io/v1"), ObjectMeta: m.ObjectMeta}).Rows[0]
		out.Rows = append(out.Rows, row)
	}
	out.ListMeta = configMaps(0, 0).ListMeta
	return out
}

func TestListsAreReadItemByItem(t *testing.T) {
	tests := map[string]struct {
		list    func(n int) runtime.Object
		formats []wire.Format
	}{
		"typed":           {func(n int) runtime.Object { return configMaps(n, 100) }, []wire.Format{wire.JSON, wire.Protobuf}},
		"metadata":        {func(n int) runtime.Object { return partials(n) }, []wire.Format{wire.JSON, wire.Protobuf}},
		"custom resource": {func(n int) runtime.Object { return widgets(n) }, []wire.Format{wire.JSON}},
		"Table":           {func(n int) runtime.Object { return rows(n) }, []wire.Format{wire.JSON}},
	}
	for name, test := range tests {
		for _, f := range test.formats {
			for _, n := range []int{0, 1, 2, 300} {
				data := encode(t, f, test.list(n))
				for how, r := range map[string]io.Reader{"at once": bytes.NewReader(data), "byte by byte": iotest.OneByteReader(bytes.NewReader(data)), "error with the data": iotest.DataErrReader(bytes.NewReader(data))} {
					got, _, list, err := readAll(f, r)
					if err != nil || len(got) != n {
						t.Fatalf("%s, format %d, %d items %s: %d, %v", name, f, n, how, len(got), err)
					}
					if n > 0 && got[n-1] != fmt.Sprintf("m-%06d", n-1) {
						t.Errorf("%s, format %d: last is %s", name, f, got[n-1])
					}
					kind := test.list(0).GetObjectKind().GroupVersionKind()
					if list.Kind != kind.Kind || list.APIVersion != kind.GroupVersion().String() || list.ResourceVersion != "99" || list.Continue != "more" || list.RemainingItemCount == nil || *list.RemainingItemCount != 12 {
						t.Errorf("%s, format %d: list is %+v", name, f, list)
					}
					if list.IsTable() != (list.ColumnDefinitions != nil) {
						t.Errorf("%s: columns are %q", name, list.ColumnDefinitions)
					}
				}
			}
		}
	}
}

func TestItemsAreStampedInPlace(t *testing.T) {
	stamp := func(f wire.Format, list runtime.Object) []byte {
		reader := wire.NewListReader(f, bytes.NewReader(encode(t, f, list)))
		item, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("m-000000", item.Meta.Name); diff != "" {
			t.Error(diff)
		}
		out, err := item.AppendVersioned(nil, "12345678901234567890")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := configMaps(1, 100).Items[0]
	want.ResourceVersion = "12345678901234567890"
	var message corev1.ConfigMap
	if err := message.Unmarshal(stamp(wire.Protobuf, configMaps(1, 100))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, message); diff != "" {
		t.Errorf("protobuf (-want +got):\n%s", diff)
	}
	for name, list := range map[string]runtime.Object{"typed": configMaps(1, 100), "custom resource": widgets(1), "Table": rows(1)} {
		original := encode(t, wire.JSON, list)
		wanted := strings.Replace(string(original), `"resourceVersion":"7"`, `"resourceVersion":"12345678901234567890"`, 1)
		if got := string(stamp(wire.JSON, list)); !strings.Contains(wanted, got) {
			t.Errorf("%s: %s\nis not in %s", name, got, wanted)
		}
	}
}

func TestARowLosesItsObject(t *testing.T) {
	for body, want := range map[string]string{
		`{"kind":"Table","rows":[{"cells":["x"],"object":{"metadata":{"name":"x"}}}]}`: `{"cells":["x"],"object":null}`,
		`{"kind":"Table","rows":[{"object":null,"cells":["x"]}]}`:                      `{"object":null,"cells":["x"]}`,
		`{"kind":"List","items":[{"object":{"a":1}}]}`:                                 `{"object":{"a":1}}`,
	} {
		item, err := wire.NewListReader(wire.JSON, strings.NewReader(body)).Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(item.AppendWithoutObject(nil)); got != want {
			t.Errorf("%s: %s; want %s", body, got, want)
		}
	}
}

func TestAListThatBreaksOffIsAnError(t *testing.T) {
	for f, list := range map[wire.Format]runtime.Object{wire.JSON: configMaps(3, 50), wire.Protobuf: configMaps(3, 50)} {
		data := bytes.TrimSpace(encode(t, f, list))
		if f == wire.Protobuf {
			// Behind the message come two fields of the envelope, which are empty and may be missing.
			data = bytes.TrimSuffix(data, []byte{0x1a, 0, 0x22, 0})
		}
		for n := range data {
			if _, _, _, err := readAll(f, bytes.NewReader(data[:n])); err == nil {
				t.Fatalf("format %d: %d bytes of %d are a list", f, n, len(data))
			}
		}
		broken := errors.New("connection lost")
		if _, _, _, err := readAll(f, io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("format %d: an error behind the list is lost: %v", f, err)
		}
	}
}

func TestWhatIsNoListIsAnError(t *testing.T) {
	tests := map[string]struct {
		format wire.Format
		data   string
	}{
		"nothing":                  {wire.JSON, ""},
		"Status":                   {wire.JSON, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure"}`},
		"array":                    {wire.JSON, `[]`},
		"items twice":              {wire.JSON, `{"items":[],"items":[]}`},
		"items of no kind":         {wire.JSON, `{"items":{}}`},
		"items without comma":      {wire.JSON, `{"items":[{} {}]}`},
		"items with a last comma":  {wire.JSON, `{"items":[{},]}`},
		"an item that is a number": {wire.JSON, `{"items":[1]}`},
		"another behind it":        {wire.JSON, `{"items":[]}{"items":[]}`},
		"closed too often":         {wire.JSON, `{"items":[]}}`},
		"deeply nested":            {wire.JSON, `{"items":[{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}]}`},
		"nothing in protobuf":      {wire.Protobuf, ""},
		"no magic":                 {wire.Protobuf, "k8s!"},
		"no object":                {wire.Protobuf, "k8s\x00"},
		"Status in protobuf":       {wire.Protobuf, string(encode(t, wire.Protobuf, &metav1.Status{TypeMeta: typed("Status", "v1")}))},
		"item beyond its list":     {wire.Protobuf, "k8s\x00\x12\x03\x12\x05ab"},
		"a length without end":     {wire.Protobuf, "k8s\x00\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
		"a large item":             {wire.Protobuf, "k8s\x00\x12\xff\xff\xff\xff\x7f\x12\xff\xff\xff\xff\x0f"},
		"two objects":              {wire.Protobuf, "k8s\x00\x12\x00\x12\x00"},
		"unknown format":           {0, "{}"},
	}
	for name, test := range tests {
		if got, _, _, err := readAll(test.format, strings.NewReader(test.data)); err == nil {
			t.Errorf("%s: is a list of %v", name, got)
		}
	}
}
