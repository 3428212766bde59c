package merge_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// TestYAMLSaysWhatJSONDoes, whatever the texts in it look like.
func TestYAMLSaysWhatJSONDoes(t *testing.T) {
	remaining := int64(3)
	typed := wire.ListMeta{Kind: "ConfigMapList", APIVersion: "v1"}
	end := typed
	end.ResourceVersion, end.Continue, end.RemainingItemCount = "9", "more: #", &remaining
	table := wire.ListMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1", ColumnDefinitions: []byte(`[{"name":"Name","priority":0}]`)}
	var items []string
	for _, text := range []string{
		"", " ", "\t", "true", "1e3", "0x1", "null", "~", "- a: b\n# c", "---\n...\n", "{", "'\"\\", "a\n", "\n\na\n\n b \n\n", "  a\nb", "a\r\nb",
		"a\u2028b\nc", strings.Repeat("word ", 99) + "\n" + strings.Repeat("x", 999),
	} {
		item, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"name": text, "labels": map[string]string{"k": text}}, "n": 1 << 52, "none": nil, "empty": map[string]any{},
			"list": []any{text, []any{}, map[string]any{"a": text, "b": []any{text}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, string(item))
	}
	for name, test := range map[string]struct {
		before, after wire.ListMeta
		items         []string
	}{
		"nothing":          {typed, typed, nil},
		"kind known first": {typed, end, items},
		"kind known last":  {wire.ListMeta{}, end, items},
		"Table":            {table, table, []string{`{"cells":["a",1],"object":{}}`, `{"cells":[]}`}},
		"empty Table":      {table, table, nil},
	} {
		var inJSON, inYAML strings.Builder
		for _, encoder := range []merge.Encoder{merge.NewJSON(&inJSON), merge.NewYAML(&inYAML)} {
			for _, item := range test.items {
				if err := encoder.Item(test.before, []byte(item)); err != nil {
					t.Fatal(err)
				}
			}
			if err := encoder.Finish(test.after); err != nil {
				t.Fatal(err)
			}
		}
		var want, got any
		if err := json.Unmarshal([]byte(inJSON.String()), &want); err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict([]byte(inYAML.String()), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
