package router

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

func TestFinalizerIntoJSON(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"none", `{"metadata":{"name":"a"}}`, `{"metadata":{"finalizers":["kubecell.io/cells"],"name":"a"}}`},
		{"empty metadata", `{"metadata": { } }`, `{"metadata": {"finalizers":["kubecell.io/cells"] } }`},
		{"others", `{"kind":"N","metadata":{"name":"a","finalizers":["x/y"]}}`, `{"kind":"N","metadata":{"name":"a","finalizers":["kubecell.io/cells","x/y"]}}`},
		{"empty list", `{"metadata":{"finalizers":[]}}`, `{"metadata":{"finalizers":["kubecell.io/cells"]}}`},
		{"there already", `{"metadata":{"finalizers":["x/y","kubecell.io/cells"]}}`, `{"metadata":{"finalizers":["x/y","kubecell.io/cells"]}}`},
		{"null", `{"metadata":{"finalizers":null}}`, `{"metadata":{"finalizers":null}}`},
		{"metadata elsewhere", `{"spec":{"metadata":{"name":"b"}},"metadata":{"name":"a"}}`, `{"spec":{"metadata":{"name":"b"}},"metadata":{"finalizers":["kubecell.io/cells"],"name":"a"}}`},
		{"a field twice", `{"metadata":{"name":"a","name":"a"}}`, `{"metadata":{"finalizers":["kubecell.io/cells"],"name":"a","name":"a"}}`},
		{"no metadata", `{"kind":"N"}`, `{"kind":"N"}`},
		{"garbage", `{"metadata":{`, `{"metadata":{`},
		{"not an object", `[1]`, `[1]`},
		{"nothing", ``, ``},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(finalizerIntoJSON([]byte(test.in))); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestFinalizerIntoProtobuf(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codec := protobuf.NewSerializer(scheme, scheme)
	for _, test := range []struct {
		name     string
		in, want []string
	}{
		{"none", nil, []string{"kubecell.io/cells"}},
		{"others", []string{"x/y"}, []string{"x/y", "kubecell.io/cells"}},
		{"there already", []string{"kubecell.io/cells", "x/y"}, []string{"kubecell.io/cells", "x/y"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := &corev1.Namespace{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
				ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"k": "v"}, Finalizers: test.in},
			}
			var data strings.Builder
			if err := codec.Encode(ns, &data); err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequest(http.MethodPost, "/", strings.NewReader(data.String()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", runtime.ContentTypeProtobuf)
			r, err = withFinalizer(r)
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(out)) != r.ContentLength {
				t.Errorf("content length is %d of %d bytes", r.ContentLength, len(out))
			}
			got, _, err := codec.Decode(out, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			ns.Finalizers = test.want
			if diff := cmp.Diff(ns.ObjectMeta, got.(*corev1.Namespace).ObjectMeta); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
