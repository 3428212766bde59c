package wire_test

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// prefixed is a translation that shows.
func prefixed(version string) (string, error) { return "t" + version, nil }

func TestVersionsOfRequestsAreTranslated(t *testing.T) {
	const (
		object    = "application/json"
		mergeType = "application/merge-patch+json"
		patchType = "application/json-patch+json"
		yamlType  = "application/yaml"
		applyType = "application/apply-patch+yaml"
	)
	tests := map[string]struct{ contentType, body, want string }{
		"object":                             {object, `{"kind":"A","metadata":{"name":"x","resourceVersion":"7"},"data":{"resourceVersion":"8"}}`, `{"kind":"A","metadata":{"name":"x","resourceVersion":"t7"},"data":{"resourceVersion":"8"}}`},
		"object with charset":                {"application/json; charset=utf-8", `{"metadata":{"resourceVersion":"7"}}`, `{"metadata":{"resourceVersion":"t7"}}`},
		"no content type":                    {"", ` {"metadata" : {"resourceVersion" : "7" } } `, ` {"metadata" : {"resourceVersion" : "t7" } } `},
		"zero":                               {object, `{"metadata":{"resourceVersion":"0"}}`, `{"metadata":{"resourceVersion":"t0"}}`},
		"empty":                              {object, `{"metadata":{"resourceVersion":""}}`, `{"metadata":{"resourceVersion":""}}`},
		"null":                               {object, `{"metadata":{"resourceVersion":null}}`, `{"metadata":{"resourceVersion":null}}`},
		"a number":                           {object, `{"metadata":{"resourceVersion":7}}`, `{"metadata":{"resourceVersion":7}}`},
		"escaped key":                        {object, `{"met\u0061data":{"resource\u0056ersion":"7"}}`, `{"met\u0061data":{"resource\u0056ersion":"t7"}}`},
		"escaped value":                      {object, `{"metadata":{"resourceVersion":"\u0037"}}`, `{"metadata":{"resourceVersion":"t7"}}`},
		"other case":                         {object, `{"Metadata":{"resourceVersion":"7"},"metadata":{"resourceversion":"7"}}`, `{"Metadata":{"resourceVersion":"7"},"metadata":{"resourceversion":"7"}}`},
		"twice":                              {object, `{"metadata":{"resourceVersion":"7","resourceVersion":"8"},"metadata":{"resourceVersion":"9"}}`, `{"metadata":{"resourceVersion":"t7","resourceVersion":"t8"},"metadata":{"resourceVersion":"t9"}}`},
		"broken":                             {object, `{"metadata":{"resourceVersion":"7"}`, `{"metadata":{"resourceVersion":"7"}`},
		"something behind":                   {object, `{"metadata":{"resourceVersion":"7"}}x`, `{"metadata":{"resourceVersion":"7"}}x`},
		"an array":                           {object, `[{"metadata":{"resourceVersion":"7"}}]`, `[{"metadata":{"resourceVersion":"7"}}]`},
		"delete options":                     {object, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"u","resourceVersion":"7"}}`, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"u","resourceVersion":"t7"}}`},
		"delete options without kind":        {object, `{"preconditions":{"resourceVersion":"7"},"orphanDependents":true}`, `{"preconditions":{"resourceVersion":"t7"},"orphanDependents":true}`},
		"preconditions of another kind":      {object, `{"kind":"Gate","metadata":{"name":"x"},"preconditions":{"resourceVersion":"7"}}`, `{"kind":"Gate","metadata":{"name":"x"},"preconditions":{"resourceVersion":"7"}}`},
		"eviction":                           {object, `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"x"},"deleteOptions":{"preconditions":{"resourceVersion":"7"}}}`, `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"x"},"deleteOptions":{"preconditions":{"resourceVersion":"t7"}}}`},
		"eviction of another group":          {object, `{"apiVersion":"court/v1","kind":"Eviction","deleteOptions":{"preconditions":{"resourceVersion":"7"}}}`, `{"apiVersion":"court/v1","kind":"Eviction","deleteOptions":{"preconditions":{"resourceVersion":"7"}}}`},
		"merge patch":                        {mergeType, `{"metadata":{"resourceVersion":"7"},"preconditions":{"resourceVersion":"8"}}`, `{"metadata":{"resourceVersion":"t7"},"preconditions":{"resourceVersion":"8"}}`},
		"strategic merge patch":              {"application/strategic-merge-patch+json", `{"metadata":{"resourceVersion":"7"}}`, `{"metadata":{"resourceVersion":"t7"}}`},
		"apply in JSON":                      {applyType, `{"kind":"A","metadata":{"resourceVersion":"7"}}`, `{"kind":"A","metadata":{"resourceVersion":"t7"}}`},
		"apply in YAML":                      {applyType, "kind: A\nmetadata:\n  resourceVersion: \"7\"\n", `{"kind":"A","metadata":{"resourceVersion":"t7"}}`},
		"apply in YAML without":              {applyType, "kind: A\nmetadata:\n  name: x\n", "kind: A\nmetadata:\n  name: x\n"},
		"YAML with an escaped key":           {yamlType, "metadata: {\"resource\\x56ersion\": \"7\"}\n", `{"metadata":{"resourceVersion":"t7"}}`},
		"YAML with a binary key":             {yamlType, "metadata:\n  !!binary cmVzb3VyY2VWZXJzaW9u: \"7\"\n", `{"metadata":{"resourceVersion":"t7"}}`},
		"YAML with braces":                   {yamlType, "{metadata: {resourceVersion: '7'}}", `{"metadata":{"resourceVersion":"t7"}}`},
		"YAML with escapes of something":     {yamlType, "data: \"a\\nb\"\n", "data: \"a\\nb\"\n"},
		"YAML with the word elsewhere":       {yamlType, "data:\n  resourceVersion: \"7\"\n", "data:\n  resourceVersion: \"7\"\n"},
		"YAML with a key twice":              {yamlType, "metadata: {resourceVersion: '7'}\nmetadata: {}\n", "metadata: {resourceVersion: '7'}\nmetadata: {}\n"},
		"JSON patch, test":                   {patchType, `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"add","path":"/data","value":{"resourceVersion":"8"}}]`, `[{"op":"test","path":"/metadata/resourceVersion","value":"t7"},{"op":"add","path":"/data","value":{"resourceVersion":"8"}}]`},
		"JSON patch, value before its path":  {patchType, `[{"value":"7","path":"\/metadata\/resource\u0056ersion","op":"replace"}]`, `[{"value":"t7","path":"\/metadata\/resource\u0056ersion","op":"replace"}]`},
		"JSON patch, all metadata":           {patchType, `[{"op":"add","path":"/metadata","value":{"resourceVersion":"7","name":"x"}}]`, `[{"op":"add","path":"/metadata","value":{"resourceVersion":"t7","name":"x"}}]`},
		"JSON patch, whole document":         {patchType, `[{"op":"replace","path":"","value":{"metadata":{"resourceVersion":"7"}}}]`, `[{"op":"replace","path":"","value":{"metadata":{"resourceVersion":"t7"}}}]`},
		"JSON patch, removal":                {patchType, `[{"op":"remove","path":"/metadata/resourceVersion"}]`, `[{"op":"remove","path":"/metadata/resourceVersion"}]`},
		"JSON patch, without path":           {patchType, `[{"op":"test","value":{"metadata":{"resourceVersion":"7"}}}]`, `[{"op":"test","value":{"metadata":{"resourceVersion":"7"}}}]`},
		"another type":                       {"application/cbor", `{"metadata":{"resourceVersion":"7"}}`, `{"metadata":{"resourceVersion":"7"}}`},
		"a type that is none":                {";;", `{"metadata":{"resourceVersion":"7"}}`, `{"metadata":{"resourceVersion":"7"}}`},
		"protobuf that is none":              {runtime.ContentTypeProtobuf, "k8s\x00\xff", "k8s\x00\xff"},
		"a word that is not where it counts": {object, `{"data":"resourceVersion"}`, `{"data":"resourceVersion"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := wire.RewriteVersions(test.contentType, []byte(test.body), prefixed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionsOfRequestsInProtobufAreTranslated(t *testing.T) {
	version, wanted := "7", "t7"
	options := func(v *string) *metav1.DeleteOptions {
		uid := full().UID
		return &metav1.DeleteOptions{TypeMeta: typed("DeleteOptions", "v1"), Preconditions: &metav1.Preconditions{ResourceVersion: v, UID: &uid}, DryRun: []string{"All"}}
	}
	translated := full()
	translated.ResourceVersion = wanted
	tests := map[string]struct{ object, want runtime.Object }{
		"object":         {objects(full())["Deployment"], objects(translated)["Deployment"]},
		"delete options": {options(&version), options(&wanted)},
		"eviction": {
			&policyv1.Eviction{TypeMeta: typed("Eviction", "policy/v1"), ObjectMeta: full(), DeleteOptions: options(&version)},
			&policyv1.Eviction{TypeMeta: typed("Eviction", "policy/v1"), ObjectMeta: translated, DeleteOptions: options(&wanted)},
		},
		"no version": {&corev1.ConfigMap{TypeMeta: typed("ConfigMap", "v1")}, &corev1.ConfigMap{TypeMeta: typed("ConfigMap", "v1")}},
	}
	for name, test := range tests {
		got, err := wire.RewriteVersions(runtime.ContentTypeProtobuf, encode(t, wire.Protobuf, test.object), prefixed)
		if err != nil {
			t.Fatal(err)
		}
		if want := encode(t, wire.Protobuf, test.want); string(want) != string(got) {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
	}
	// DELETE takes its options without saying that they are such.
	bare := options(&version)
	bare.TypeMeta = metav1.TypeMeta{}
	got, err := wire.RewriteVersions(runtime.ContentTypeProtobuf, encode(t, wire.Protobuf, bare), prefixed)
	if err != nil || !strings.Contains(string(got), wanted) {
		t.Errorf("delete options without kind: %q, %v", got, err)
	}
}

func TestATranslationMayRefuse(t *testing.T) {
	refusal := errors.New("refused")
	for contentType, body := range map[string][]byte{
		"application/json":          []byte(`{"metadata":{"resourceVersion":"7"}}`),
		runtime.ContentTypeYAML:     []byte("metadata:\n  resourceVersion: '7'\n"),
		runtime.ContentTypeProtobuf: encode(t, wire.Protobuf, objects(full())["Pod"]),
	} {
		got, err := wire.RewriteVersions(contentType, body, func(string) (string, error) { return "", refusal })
		if !errors.Is(err, refusal) || got != nil {
			t.Errorf("%s: %q, %v; want the refusal", contentType, got, err)
		}
	}
}
