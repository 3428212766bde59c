package router

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// TestAListInYAMLIsWrittenAsItComes: to hold it, and to convert it as a whole, takes many times its size.
func TestAListInYAMLIsWrittenAsItComes(t *testing.T) {
	w := httptest.NewRecorder()
	l := &listing{w: w, r: httptest.NewRequest(http.MethodGet, "/", nil), asYAML: true, sources: []*listSource{
		{format: wire.JSON, header: http.Header{"Content-Type": {runtime.ContentTypeJSON}}},
	}}
	out := l.output()
	defer out.close()
	encoder, err := out.encoder(out)
	if err != nil {
		t.Fatal(err)
	}
	const size, items = 1 << 20, 3
	list := wire.ListMeta{Kind: "ConfigMapList", APIVersion: "v1"}
	item := []byte(`{"data":{"k":"` + strings.Repeat("v", size) + `"}}`)
	for i := range items {
		if err := encoder.Item(list, item); err != nil {
			t.Fatal(err)
		}
		if written := w.Body.Len(); written < i*size || out.held.Len() > gzipFrom {
			t.Errorf("after %d items %d bytes are written and %d held", i+1, written, out.held.Len())
		}
	}
	list.ResourceVersion = "9"
	if err := encoder.Finish(list); err != nil {
		t.Fatal(err)
	}
	if err := out.end(); err != nil {
		t.Fatal(err)
	}
	if begins := w.Body.String()[:20]; !strings.HasPrefix(begins, "apiVersion: v1\n") {
		t.Errorf("it begins with %q; want YAML, which JSON is as well", begins)
	}
	var got corev1.ConfigMapList
	if err := yaml.UnmarshalStrict(w.Body.Bytes(), &got); err != nil || len(got.Items) != items || got.ResourceVersion != "9" || got.Kind != list.Kind {
		t.Errorf("%v, %d items at %s; want all, in YAML", err, len(got.Items), got.ResourceVersion)
	}
	if got := w.Header().Get("Content-Type"); got != runtime.ContentTypeYAML {
		t.Errorf("Content-Type is %q", got)
	}
}
