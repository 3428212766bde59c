package migration_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// defineIn makes or changes a definition in one cell, and waits until it counts. colour is more of the
// schema of spec.colour, rule one of spec.
func (b *bed) defineIn(t *testing.T, s side, plural, colour, version, rule string) kind {
	t.Helper()
	name := strings.ToUpper(plural[:1]) + plural[1:len(plural)-1]
	validations := ""
	if rule != "" {
		validations = `, x-kubernetes-validations: [{rule: "` + rule + `", message: "must be ` + rule + `"}]`
	}
	text := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + `.test.example.com, annotations: {colour: "` + colour + `", rule: "` + rule + `"}}
spec:
  group: test.example.com
  scope: Namespaced
  names: {plural: ` + plural + `, kind: ` + name + `}
  versions:
  - name: ` + version + `
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object` + validations + `, properties: {size: {type: integer}, externalName: {type: string}, colour: {type: string` + colour + `}}}
          status: {type: object, properties: {seen: {type: boolean}}}
`
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &crd.Object); err != nil {
		t.Fatal(err)
	}
	definitions := s.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Apply(t.Context(), crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "author", Force: true}); err != nil {
		t.Fatal(err)
	}
	k := sharded("test.example.com", version, plural, name, true)
	discovered := func() bool { return sandboxtest.Discovered(s.kube.Discovery(), k.GroupVersionResource) }
	// A dry run tells what schema is in force.
	probe := b.parse(k, `{metadata: {name: probe}, spec: {size: 5}}`)
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		made, err := b.in(s, k).Create(ctx, probe.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case strings.Contains(rule, "9"):
			return apierrors.IsInvalid(err) && discovered(), nil
		case err != nil:
			return false, nil
		}
		_, hasColour, _ := unstructured.NestedString(made.Object, "spec", "colour")
		return hasColour == (colour != "") && discovered(), nil
	})
	if err != nil {
		t.Fatalf("definition of %s does not come into force", plural)
	}
	return k
}
