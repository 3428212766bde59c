package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// serializer is the apiserver's own for a format.
func serializer(f wire.Format) runtime.Serializer {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	utilruntime.Must(metav1.AddMetaToScheme(s))
	if f == wire.Protobuf {
		return protobuf.NewSerializer(s, s)
	}
	return jsonserializer.NewSerializerWithOptions(jsonserializer.DefaultMetaFactory, s, s, jsonserializer.SerializerOptions{StreamingCollectionsEncoding: true})
}

func encode(t testing.TB, f wire.Format, object runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := serializer(f).Encode(object, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decode(t testing.TB, f wire.Format, data []byte) runtime.Object {
	t.Helper()
	out, _, err := serializer(f).Decode(data, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(data); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		return u
	}
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	return out
}

// full has everything that is read and more of what is around it.
func full() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "a", Name: "x", UID: "u-1", ResourceVersion: "7", Generation: 3,
		CreationTimestamp: metav1.Unix(1000, 0), DeletionTimestamp: &metav1.Time{Time: metav1.Unix(2000, 0).Time},
		Labels: map[string]string{v1alpha1.LabelRebalanceStatus: "migrating", "app": "x"},
		Annotations: map[string]string{
			v1alpha1.AnnotationPlacementEpoch: "4", metav1.InitialEventsAnnotationKey: "true",
			"last-applied": `{"metadata":{"resourceVersion":"99","name":"\u0041 \\\" }]"}}`,
		},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u-2"}},
		Finalizers:      []string{"f"},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:resourceVersion":{}}}`)}},
	}
}

func fullMeta() wire.Meta {
	return wire.Meta{Namespace: "a", Name: "x", UID: "u-1", ResourceVersion: "7", PlacementEpoch: "4", RebalanceStatus: "migrating", InitialEventsEnd: true, Deleting: true}
}

func typed(kind, apiVersion string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: apiVersion}
}

// objects are all forms that an apiserver writes one object in, by name; those with a Table have JSON only.
func objects(meta metav1.ObjectMeta) map[string]runtime.Object {
	partial := &metav1.PartialObjectMetadata{TypeMeta: typed("PartialObjectMetadata", "meta.k8s.io/v1"), ObjectMeta: meta}
	custom := &unstructured.Unstructured{Object: map[string]any{"kind": "Widget", "apiVersion": "example.com/v1", "zzz": map[string]any{"resourceVersion": "1"}, "preconditions": map[string]any{"resourceVersion": "2"}}}
	custom.SetNamespace(meta.Namespace)
	custom.SetName(meta.Name)
	custom.SetUID(meta.UID)
	custom.SetResourceVersion(meta.ResourceVersion)
	custom.SetAnnotations(meta.Annotations)
	custom.SetLabels(meta.Labels)
	custom.SetDeletionTimestamp(meta.DeletionTimestamp)
	return map[string]runtime.Object{
		"ConfigMap": &corev1.ConfigMap{TypeMeta: typed("ConfigMap", "v1"), ObjectMeta: meta, Data: map[string]string{"metadata": `"{`}},
		"Pod":       &corev1.Pod{TypeMeta: typed("Pod", "v1"), ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Env: []corev1.EnvVar{{Name: "V", Value: "ü\"\\\n"}}}}}},
		"Deployment": &appsv1.Deployment{TypeMeta: typed("Deployment", "apps/v1"), ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Name: "inner", ResourceVersion: "5"}}}},
		"PartialObjectMetadata": partial,
		"custom resource":       custom,
		"Table of one row":      table("7", partial),
	}
}

func table(version string, rows ...runtime.Object) *metav1.Table {
	out := &metav1.Table{TypeMeta: typed("Table", "meta.k8s.io/v1"), ListMeta: metav1.ListMeta{ResourceVersion: version},
		ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string"}}, Rows: []metav1.TableRow{}}
	for _, object := range rows {
		out.Rows = append(out.Rows, metav1.TableRow{Cells: []any{"x", int64(1)}, Object: runtime.RawExtension{Object: object}})
	}
	return out
}

// formatsOf are the formats that exist of an object.
func formatsOf(name string) map[string]wire.Format {
	if name == "custom resource" || name == "Table of one row" {
		return map[string]wire.Format{"JSON": wire.JSON}
	}
	return map[string]wire.Format{"JSON": wire.JSON, "protobuf": wire.Protobuf}
}

// asJSON compares what rows hold by its meaning.
func asJSON() cmp.Option {
	return cmp.Transformer("asJSON", func(raw runtime.RawExtension) any {
		var out any
		if raw.Raw != nil {
			utilruntime.Must(json.Unmarshal(raw.Raw, &out))
		}
		return out
	})
}

func TestMetaIsReadOfEveryForm(t *testing.T) {
	for name, object := range objects(full()) {
		for format, f := range formatsOf(name) {
			got, err := f.ReadMeta(encode(t, f, object))
			if err != nil {
				t.Errorf("%s in %s: %v", name, format, err)
			}
			if diff := cmp.Diff(fullMeta(), got); diff != "" {
				t.Errorf("%s in %s (-want +got):\n%s", name, format, diff)
			}
		}
	}
}

func TestOnlyTheVersionChanges(t *testing.T) {
	with, without := full(), full()
	without.ResourceVersion = ""
	want := full()
	want.ResourceVersion = "123456789012345678901234567890"
	for start, meta := range map[string]metav1.ObjectMeta{"a version": with, "no version": without} {
		for name, object := range objects(meta) {
			for format, f := range formatsOf(name) {
				data := encode(t, f, object)
				before := bytes.Clone(data)
				got, err := f.AppendVersioned([]byte("before"), data, func(m wire.Meta) string {
					if m.ResourceVersion != meta.ResourceVersion || m.Name != "x" {
						t.Errorf("%s in %s: version is asked for %+v", name, format, m)
					}
					return want.ResourceVersion
				})
				if err != nil {
					t.Errorf("%s in %s: %v", name, format, err)
					continue
				}
				if !bytes.HasPrefix(got, []byte("before")) || !bytes.Equal(before, data) {
					t.Errorf("%s in %s: something beside the end of dst was written", name, format)
				}
				wantObject := objects(want)[name]
				if tab, ok := wantObject.(*metav1.Table); ok {
					tab.ResourceVersion = want.ResourceVersion
				}
				wantData := encode(t, f, wantObject)
				if diff := cmp.Diff(decode(t, f, wantData), decode(t, f, got[len("before"):]), asJSON()); diff != "" {
					t.Errorf("%s in %s with %s (-want +got):\n%s", name, format, start, diff)
				}
			}
		}
	}
}
