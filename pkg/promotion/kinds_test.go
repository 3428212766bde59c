package promotion_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/promotion"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func schemaUID(uid string) types.UID { return types.UID(uid) }

var widgets = kind{schema.GroupVersionResource{Group: "test.example.com", Version: "v1", Resource: "widgets"}, "Widget", true}

// define makes the definition of widgets, with rules of CEL, in all cells, and waits until it counts.
func (b *bed) define() {
	b.t.Helper()
	const text = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.example.com}
spec:
  group: test.example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "self.low <= self.high", message: "low must not be above high"}
            - {rule: "self.colour == oldSelf.colour", message: "colour is immutable"}
            properties: {low: {type: integer}, high: {type: integer}, colour: {type: string}}
          status: {type: object, properties: {seen: {type: boolean}}}
`
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &crd.Object); err != nil {
		b.t.Fatal(err)
	}
	for _, cell := range []string{dead, heir, next} {
		definitions := b.users[cell].Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
		if _, err := definitions.Apply(b.t.Context(), crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "author", Force: true}); err != nil {
			b.t.Fatal(err)
		}
		probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": widgets.apiVersion(), "kind": "Widget",
			"metadata": map[string]any{"name": "probe"}, "spec": map[string]any{"low": int64(2), "high": int64(1), "colour": "red"}}}
		api, err := discovery.NewDiscoveryClientForConfig(b.configs[cell])
		if err != nil {
			b.t.Fatal(err)
		}
		b.until("the rules of widgets count in "+cell, func() bool {
			_, err := b.in(cell, widgets).Create(b.t.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return apierrors.IsInvalid(err) && sandboxtest.Discovered(api, widgets.GroupVersionResource)
		})
	}
}

func (b *bed) until(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			b.t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// TestAPromotedObjectIsTheObject: spec, status, labels, annotations, finalizers and managedFields.
func TestAPromotedObjectIsTheObject(t *testing.T) {
	large := make([]byte, 650<<10)
	_, _ = rand.Read(large)
	tests := map[string]struct {
		kind
		text string
	}{
		"ConfigMap": {configMaps, `
metadata: {name: x, labels: {a: b}, annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}, finalizers: [example.com/hold]}
data: {k: "<v> & \u2028"}
binaryData: {b: AAEC}`},
		"Secret": {secrets, `{metadata: {name: x}, type: kubernetes.io/basic-auth, immutable: true, data: {username: eA==, password: eA==}}`},
		"Deployment": {deployments, `
metadata: {name: x, annotations: {deployment.kubernetes.io/revision: "3"}}
spec: {replicas: 5, selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}
status: {replicas: 5, readyReplicas: 4, observedGeneration: 1, conditions: [{type: Available, status: "True", lastUpdateTime: "2026-01-01T00:00:00Z", lastTransitionTime: "2026-01-01T00:00:00Z", reason: r, message: m}]}`},
		"Service": {services, `
metadata: {name: x, finalizers: [service.kubernetes.io/load-balancer-cleanup]}
spec: {type: LoadBalancer, selector: {app: x}, externalTrafficPolicy: Local, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.9.8.7}]}}`},
		"custom resource": {widgets, `
metadata: {name: x, finalizers: [example.com/hold]}
spec: {low: 1, high: 2, colour: red}
status: {seen: true}`},
		"900 KB": {configMaps, `
metadata: {name: x, finalizers: [example.com/hold]}
binaryData: {b: ` + base64.StdEncoding.EncodeToString(large) + `}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			if test.kind == widgets {
				b.define()
			}
			before := b.make(dead, test.kind, test.text)
			sealed := b.seal(heir, test.kind, before)
			result := b.promote(heir, sealed, promotion.Promoted)
			after := b.promoted(heir, test.kind, before, sealed, nil)
			if after.GetUID() != result.UID || result.Object != test.GroupResource().String()+" "+b.namespace+"/x" || result.Changed != "" {
				t.Errorf("result %+v; the UID is %s", result, after.GetUID())
			}
		})
	}
}

func ownerRef(k kind, obj *unstructured.Unstructured) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: k.apiVersion(), Kind: k.kind, Name: obj.GetName(), UID: obj.GetUID(), Controller: &yes}
}

func ownedBy(k kind, owner *unstructured.Unstructured) string {
	raw, _ := json.Marshal([]metav1.OwnerReference{ownerRef(k, owner)})
	return `, ownerReferences: ` + string(raw)
}

// family is a chain of three owners, each with an envelope.
type family struct {
	b         *bed
	kinds     []kind
	before    []*unstructured.Unstructured
	envelopes []string
}

// newFamily makes the objects, the eldest first.
func newFamily(b *bed, name string) *family {
	b.t.Helper()
	f := &family{b: b, kinds: []kind{deployments, configMaps, secrets}}
	head := `metadata: {name: ` + name + `, annotations: {who: me}`
	root := b.make(dead, deployments, head+`, finalizers: [example.com/hold]}
spec: {replicas: 5, selector: {matchLabels: {app: x}}, template: `+podTemplate+`}
status: {replicas: 5, readyReplicas: 4}`)
	child := b.make(dead, configMaps, head+ownedBy(deployments, root)+`}`)
	grandchild := b.make(dead, secrets, head+`, finalizers: [example.com/hold]`+ownedBy(configMaps, child)+`}`)
	f.before = []*unstructured.Unstructured{root, child, grandchild}
	for i, k := range f.kinds {
		f.envelopes = append(f.envelopes, b.seal(heir, k, f.before[i]))
	}
	return f
}

// arrived wants all objects as they were, owned by each other.
func (f *family) arrived() {
	f.b.t.Helper()
	owners := map[string]string{}
	for i, k := range f.kinds {
		if after := f.b.promoted(heir, k, f.before[i], f.envelopes[i], owners); after != nil {
			owners[string(f.before[i].GetUID())] = string(after.GetUID())
		}
	}
}

func TestOwnersArePromotedFirst(t *testing.T) {
	b := newBed(t)
	f := newFamily(b, "f")
	b.promote(heir, f.envelopes[2], promotion.Promoted)
	f.arrived()
	b.promote(heir, f.envelopes[0], promotion.None)
}

// TestAnObjectThatWasBeingDeletedGoesOnBeingDeleted: it waits for its finalizers, as it did. What was only about to
// go is gone.
func TestAnObjectThatWasBeingDeletedGoesOnBeingDeleted(t *testing.T) {
	b := newBed(t)
	b.make(dead, configMaps, `{metadata: {name: held, finalizers: [example.com/hold]}, data: {a: b}}`)
	if err := b.as(dead, configMaps).Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	held := b.seal(heir, configMaps, b.get(dead, configMaps, "held"))
	b.promote(heir, held, promotion.Promoted)
	after := b.get(heir, configMaps, "held")
	if after == nil || after.GetDeletionTimestamp() == nil || strings.Join(after.GetFinalizers(), " ") != "example.com/hold" || b.sealed(heir, held) {
		t.Errorf("promoted: %v", after)
	}
	going := b.make(dead, configMaps, `{metadata: {name: going}}`)
	now := metav1.Now()
	going.SetDeletionTimestamp(&now)
	name := b.seal(heir, configMaps, going)
	b.promote(heir, name, promotion.Dropped)
	if b.get(heir, configMaps, "going") != nil || b.sealed(heir, name) {
		t.Error("an object that nothing held was made again")
	}
}
