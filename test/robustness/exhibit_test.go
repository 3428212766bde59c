package robustness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// largeSize is that of the largest exhibit, in bytes. Base64 makes 900 KB of it.
const largeSize = 675 << 10

// rules are custom resources with rules in CEL, one of which looks at the object of before.
var rules = schema.GroupVersionResource{Group: "exhibits.example.com", Version: "v1", Resource: "rules"}

const ruleDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rules.exhibits.example.com}
spec:
  group: exhibits.example.com
  scope: Namespaced
  names: {plural: rules, kind: Rule}
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

// exhibit is an object that nobody writes to: what there is of it at the end is what was made.
type exhibit struct {
	kind   schema.GroupVersionResource
	name   string
	before []byte // see canonical
}

// exhibitTexts are objects of which much can get lost: with status, finalizers, owners, secrets, rules, and as large as may
// be. NAME is the object's own, OWNER the UID of the config map of that name.
func exhibitTexts() map[schema.GroupVersionResource]string {
	statefulSets := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	return map[schema.GroupVersionResource]string{
		configMaps: `
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, labels: {a: b}, annotations: {note: "<v> & \u2028"}, finalizers: [example.com/hold]}
data: {k: "<v> & \u2028"}
binaryData: {}`,
		secrets: `
apiVersion: v1
kind: Secret
metadata: {name: NAME, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: NAME, uid: OWNER}]}
type: kubernetes.io/basic-auth
immutable: true
data: {username: eA==, password: eA==}`,
		statefulSets: `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: NAME, finalizers: [example.com/hold], ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: NAME, uid: OWNER}]}
spec:
  replicas: 5
  serviceName: s
  selector: {matchLabels: {app: x}}
  template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: registry.example/c:1}]}}
status: {replicas: 5, readyReplicas: 4, observedGeneration: 1, collisionCount: 2, currentRevision: r-1}`,
		rules: `
apiVersion: exhibits.example.com/v1
kind: Rule
metadata: {name: NAME, finalizers: [example.com/hold]}
spec: {low: 1, high: 2, colour: red}
status: {seen: true}`,
	}
}

// exhibit makes one of each in every cell.
func (d *drill) exhibit() {
	d.t.Helper()
	d.define()
	snap, err := routing.FromRing(d.ring())
	d.must(err)
	random, has := rand.New(rand.NewPCG(1, 1)), map[string]bool{}
	for n := 0; len(has) < drillCells; n++ {
		name := fmt.Sprintf("exhibit-%d", n)
		at, _ := snap.Table.Lookup(placement.NamespacedName, namespace, name)
		if has[at.Old()] {
			continue
		}
		has[at.Old()] = true
		large := make([]byte, largeSize)
		for i := range large {
			large[i] = byte(random.Uint32())
		}
		texts := exhibitTexts()
		owner := d.makeExhibit(configMaps, name, texts[configMaps], "", large)
		delete(texts, configMaps)
		for kind, text := range texts {
			d.makeExhibit(kind, name, text, string(owner.GetUID()), large)
		}
	}
}

func (d *drill) define() {
	d.t.Helper()
	definition := &unstructured.Unstructured{}
	d.must(yaml.Unmarshal([]byte(ruleDefinition), &definition.Object))
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err := d.through[0].client.Resource(definitions).Create(d.ctx, definition, metav1.CreateOptions{})
	d.must(err)
	for _, a := range append(d.allCells(), d.through...) {
		wrong := newObject("exhibits.example.com/v1", "Rule", "wrong")
		wrong.Object["spec"] = map[string]any{"low": int64(2), "high": int64(1), "colour": "red"}
		d.await("the rules in "+a.name, func() bool {
			_, err := a.client.Resource(rules).Namespace(namespace).Create(d.ctx, wrong, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return apierrors.IsInvalid(err)
		})
	}
}

func (d *drill) makeExhibit(kind schema.GroupVersionResource, name, text, owner string, large []byte) *unstructured.Unstructured {
	d.t.Helper()
	object := &unstructured.Unstructured{}
	d.must(yaml.Unmarshal([]byte(strings.NewReplacer("NAME", name, "OWNER", owner).Replace(text)), &object.Object))
	if kind == configMaps {
		d.must(unstructured.SetNestedField(object.Object, base64.StdEncoding.EncodeToString(large), "binaryData", "b"))
	}
	r := d.through[0].client.Resource(kind).Namespace(namespace)
	made, err := r.Create(d.ctx, object, metav1.CreateOptions{})
	d.must(err)
	if status, has := object.Object["status"]; has {
		made.Object["status"] = status
		made, err = r.UpdateStatus(d.ctx, made, metav1.UpdateOptions{})
		d.must(err)
	}
	d.in.exhibits = append(d.in.exhibits, exhibit{kind, name, d.canonical(made)})
	return made
}

// canonical is all of an object that is not each control plane's own. An owner is told by its name: its UID has to be that
// of the owner as it is.
func (d *drill) canonical(object *unstructured.Unstructured) []byte {
	d.t.Helper()
	out := object.DeepCopy()
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	annotations := out.GetAnnotations()
	for name := range annotations {
		if strings.HasPrefix(name, v1alpha1.GroupName+"/") {
			delete(annotations, name)
		}
	}
	if out.SetAnnotations(annotations); len(annotations) == 0 {
		unstructured.RemoveNestedField(out.Object, "metadata", "annotations")
	}
	owners := out.GetOwnerReferences()
	for i := range owners {
		owner, err := d.through[0].client.Resource(configMaps).Namespace(namespace).Get(d.ctx, owners[i].Name, metav1.GetOptions{})
		d.must(err)
		if owners[i].UID != owner.GetUID() {
			d.t.Errorf("%s %s is owned by %s with UID %s, which is %s", out.GetKind(), out.GetName(), owners[i].Name, owners[i].UID, owner.GetUID())
		}
		owners[i].UID = ""
	}
	if len(owners) > 0 {
		out.SetOwnerReferences(owners)
	}
	raw, err := json.Marshal(out.Object)
	d.must(err)
	return raw
}

// intact wants every exhibit to be as it was made, byte for byte, but for those that a failover has named as lost: they
// are gone, and no exhibits any more.
func (d *drill) intact(when string) {
	d.t.Helper()
	var problems []string
	d.in.exhibits = slices.DeleteFunc(d.in.exhibits, func(e exhibit) bool {
		object, err := d.through[1].client.Resource(e.kind).Namespace(namespace).Get(d.ctx, e.name, metav1.GetOptions{})
		lost := d.lostExhibits[failover.Key(e.kind.Group, e.kind.Resource, namespace, e.name)]
		switch {
		case lost && apierrors.IsNotFound(err):
			return true
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s %s: %v", e.kind.Resource, e.name, err))
		case lost:
			problems = append(problems, fmt.Sprintf("%s %s was named as lost, and is there", e.kind.Resource, e.name))
		default:
			if after := d.canonical(object); string(after) != string(e.before) {
				problems = append(problems, fmt.Sprintf("%s %s was\n%.2000s\nand is\n%.2000s", e.kind.Resource, e.name, e.before, after))
			}
		}
		return false
	})
	d.report("exhibits that have changed "+when, problems)
}
