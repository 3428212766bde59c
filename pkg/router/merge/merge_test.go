package merge

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parts(bodies ...string) []Part {
	out := make([]Part, len(bodies))
	for i, body := range bodies {
		out[i] = Part{Source: []string{"cell-1", "cell-2", "cell-3"}[i], Body: strings.NewReader(body)}
	}
	return out
}

func everything(string, string, string) bool { return true }

func mergeToAny(t *testing.T, parts []Part, visible Visible, rows RowObjects) any {
	t.Helper()
	var out strings.Builder
	if err := Lists(&out, parts, visible, rows); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return got
}

func parsed(t *testing.T, data string) any {
	t.Helper()
	var out any
	if err := json.Unmarshal([]byte(data), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	podsOfCell1 = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"x"},"items":[
		{"metadata":{"namespace":"a","name":"z"},"spec":{"n":1.50}},{"metadata":{"namespace":"b","name":"a"}}]}`
	podsOfCell2 = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[
		{"metadata":{"namespace":"a","name":"y"}},{"metadata":{"namespace":"a-b","name":"a"}},{"metadata":{"namespace":"b","name":"a"}}]}`
)

func TestListsMergesInKeyOrder(t *testing.T) {
	got := mergeToAny(t, parts(podsOfCell1, podsOfCell2), everything, KeepRowObjects)
	want := parsed(t, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[
		{"metadata":{"namespace":"a-b","name":"a"}},
		{"metadata":{"namespace":"a","name":"y"}},
		{"metadata":{"namespace":"a","name":"z"},"spec":{"n":1.5}},
		{"metadata":{"namespace":"b","name":"a"}},
		{"metadata":{"namespace":"b","name":"a"}}]}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}

func TestListsHidesWhatDoesNotCount(t *testing.T) {
	visible := func(source, namespace, name string) bool { return source == "cell-2" || name == "z" }
	got := mergeToAny(t, parts(podsOfCell1, podsOfCell2), visible, KeepRowObjects)
	items := got.(map[string]any)["items"].([]any)
	if len(items) != 4 {
		t.Errorf("%d items; want 4: one b/a is hidden", len(items))
	}
}

func TestListsKeepsObjectBytes(t *testing.T) {
	object := `{"metadata":{"name":"a"},"data":{"html":"<a&b>","n":1.50,"big":12345678901234567890}}`
	var out strings.Builder
	err := Lists(&out, parts(`{"kind":"L","apiVersion":"v1","items":[`+object+`]}`), everything, KeepRowObjects)
	if err != nil || !strings.Contains(out.String(), object) {
		t.Errorf("Lists = %s, %v; want the object %s in it, byte for byte", out.String(), err, object)
	}
}

func TestListsOfNothing(t *testing.T) {
	list := mergeToAny(t, parts(`{"kind":"PodList","apiVersion":"v1","items":null}`, `{"kind":"PodList","apiVersion":"v1"}`), everything, KeepRowObjects)
	if diff := cmp.Diff(parsed(t, `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`), list); diff != "" {
		t.Errorf("empty list (-want +got):\n%s", diff)
	}
	table := mergeToAny(t, parts(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name"}],"rows":null}`), everything, KeepRowObjects)
	want := parsed(t, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[{"name":"Name"}],"rows":[]}`)
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("empty table (-want +got):\n%s", diff)
	}
}

const (
	tableOfCell1 = `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name"}],"rows":[
		{"cells":["b"],"object":{"metadata":{"name":"b"}}}]}`
	tableOfCell2 = `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name"}],"rows":[
		{"cells":["a"],"object":{"metadata":{"name":"a"}}}]}`
)

func TestListsMergesTables(t *testing.T) {
	for rows, want := range map[RowObjects]string{
		KeepRowObjects: `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[{"name":"Name"}],"rows":[
			{"cells":["a"],"object":{"metadata":{"name":"a"}}},{"cells":["b"],"object":{"metadata":{"name":"b"}}}]}`,
		DropRowObjects: `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":[{"name":"Name"}],"rows":[
			{"cells":["a"]},{"cells":["b"]}]}`,
	} {
		got := mergeToAny(t, parts(tableOfCell1, tableOfCell2), everything, rows)
		if diff := cmp.Diff(parsed(t, want), got); diff != "" {
			t.Errorf("row objects %v (-want +got):\n%s", rows, diff)
		}
	}
}

func TestListsRefusesPartsThatDoNotFit(t *testing.T) {
	tests := map[string][]Part{
		"different kinds": parts(podsOfCell1, tableOfCell2),
		"truncated":       parts(podsOfCell1, podsOfCell2[:40]),
		"not a list":      parts(podsOfCell1, `[]`),
		"row is a string": parts(`{"kind":"Table","rows":["x"]}`),
		"item is a list":  parts(`{"kind":"PodList","items":[[]]}`),
	}
	for name, p := range tests {
		var out strings.Builder
		if err := Lists(&out, p, everything, KeepRowObjects); err == nil || out.Len() > 0 {
			t.Errorf("%s: error %v, wrote %q; want an error and nothing written", name, err, out.String())
		}
	}
}

func TestNegotiate(t *testing.T) {
	tests := map[string]Encoding{
		"":                 {Upstream: "application/json"},
		"*/*":              {Upstream: "application/json"},
		"application/json": {Upstream: "application/json"},
		"application/yaml": {Upstream: "application/json", YAML: true},
		"application/vnd.kubernetes.protobuf,application/json":          {Upstream: "application/json"},
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json": {Upstream: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"},
		"application/json, application/yaml":                            {Upstream: "application/json,application/json"},
		"application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1": {
			Upstream: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"},
	}
	for accept, want := range tests {
		got, err := Negotiate(accept)
		if err != nil || got != want {
			t.Errorf("Negotiate(%q) = %+v, %v; want %+v", accept, got, err, want)
		}
	}
	for _, accept := range []string{"application/vnd.kubernetes.protobuf", "text/html", ","} {
		if got, err := Negotiate(accept); !errors.Is(err, ErrNotAcceptable) {
			t.Errorf("Negotiate(%q) = %+v, %v; want ErrNotAcceptable", accept, got, err)
		}
	}
}
