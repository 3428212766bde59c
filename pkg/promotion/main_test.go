package promotion_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the cells of all tests: "dead", which is only taken for dead, "heir", which has its envelopes, and "next",
// to which keys move during a rebalance.
var planes = sandboxtest.NewPool(3)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

const (
	dead = "dead"
	heir = "heir"
	next = "next"
	// epoch of the ring since dead has left it.
	epoch = 9
)

var raised sync.Once

// bed is three cells with a namespace for the test in each.
type bed struct {
	t         testing.TB
	namespace string
	configs   map[string]*rest.Config
	dynamic   map[string]dynamic.Interface // as the mover
	users     map[string]dynamic.Interface
	snapshot  *routing.Snapshot
	sealer    *envelope.Sealer
}

func newBed(t testing.TB) *bed {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-", ",", "").Replace(t.Name()))
	b := &bed{
		t: t, namespace: strings.Trim(name[:min(len(name), 60)], "-"), configs: map[string]*rest.Config{},
		dynamic: map[string]dynamic.Interface{}, users: map[string]dynamic.Interface{},
	}
	for i, config := range planes.Configs(t) {
		config.QPS, config.Burst = -1, -1
		b.configs[[]string{dead, heir, next}[i]] = config
	}
	raised.Do(func() {
		for _, config := range b.configs {
			b.makeNamespace(config, v1alpha1.Namespace)
			if _, err := fence.Install(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if err := fence.Await(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}
	})
	var err error
	for cell, config := range b.configs {
		b.makeNamespace(config, b.namespace)
		if b.users[cell], err = dynamic.NewForConfig(config); err != nil {
			t.Fatal(err)
		}
		if b.dynamic[cell], err = dynamic.NewForConfig(fence.AsMover(config)); err != nil {
			t.Fatal(err)
		}
	}
	if b.sealer, err = envelope.NewSealer(); err != nil {
		t.Fatal(err)
	}
	b.ring(heir, "")
	return b
}

func (b *bed) makeNamespace(config *rest.Config, name string) {
	b.t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = kube.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		b.t.Fatal(err)
	}
}

// ring gives every key to one cell, or moves it to another one.
func (b *bed) ring(current, target string) {
	b.t.Helper()
	one := func(cell string) *v1alpha1.RingLayout {
		if cell == "" {
			return nil
		}
		return &v1alpha1.RingLayout{Members: []v1alpha1.RingMember{{Cell: cell, Weight: 100}}, PointsPerWeight: 10}
	}
	ring := &v1alpha1.Ring{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName}}
	ring.Status = v1alpha1.RingStatus{
		Epoch: epoch, Phase: v1alpha1.RingStable, Current: one(current), Target: one(target),
		Unavailable: []string{dead}, Promoting: []string{dead},
	}
	if target != "" {
		ring.Status.Phase = v1alpha1.RingRebalancing
	}
	var err error
	if b.snapshot, err = routing.FromRing(ring); err != nil {
		b.t.Fatal(err)
	}
}

// roundTrip is a function as an [http.RoundTripper].
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// promoter connects anew. before is told of each of its requests, nil for nobody.
func (b *bed) promoter(before func(r *http.Request)) *promotion.Promoter {
	b.t.Helper()
	p := &promotion.Promoter{Cells: map[string]*promotion.Cell{}, Snapshot: b.snapshot}
	connected := false
	for _, name := range []string{heir, next} {
		config := fence.AsMover(b.configs[name])
		config.Wrap(func(following http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if connected && before != nil {
					before(r)
				}
				return following.RoundTrip(r)
			})
		})
		cell, err := promotion.Connect(name, config)
		if err != nil {
			b.t.Fatal(err)
		}
		p.Cells[name] = cell
	}
	connected = true
	return p
}

// kind is a resource that tests use.
type kind struct {
	schema.GroupVersionResource
	kind   string
	status bool
}

func (k kind) apiVersion() string { return k.GroupVersion().String() }

var (
	configMaps  = kind{corev1.SchemeGroupVersion.WithResource("configmaps"), "ConfigMap", false}
	secrets     = kind{corev1.SchemeGroupVersion.WithResource("secrets"), "Secret", false}
	services    = kind{corev1.SchemeGroupVersion.WithResource("services"), "Service", true}
	deployments = kind{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment", true}
)

const podTemplate = `{metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i}]}}`

func (b *bed) in(cell string, k kind) dynamic.ResourceInterface {
	return b.dynamic[cell].Resource(k.GroupVersionResource).Namespace(b.namespace)
}

// as is how a user reaches a cell.
func (b *bed) as(cell string, k kind) dynamic.ResourceInterface {
	return b.users[cell].Resource(k.GroupVersionResource).Namespace(b.namespace)
}

// make creates an object from YAML in a cell, then writes its status as another manager, if it has one.
func (b *bed) make(cell string, k kind, text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		b.t.Fatal(err)
	}
	obj.SetAPIVersion(k.apiVersion())
	obj.SetKind(k.kind)
	status, hasStatus := obj.Object["status"]
	made, err := b.in(cell, k).Create(b.t.Context(), obj, metav1.CreateOptions{FieldManager: "author"})
	if err != nil {
		b.t.Fatalf("create %s: %v", obj.GetName(), err)
	}
	if hasStatus && k.status {
		made.Object["status"] = status
		if _, err = b.in(cell, k).UpdateStatus(b.t.Context(), made, metav1.UpdateOptions{FieldManager: "controller"}); err != nil {
			b.t.Fatalf("status of %s: %v", obj.GetName(), err)
		}
	}
	return b.get(cell, k, obj.GetName())
}

// get returns nil where there is none.
func (b *bed) get(cell string, k kind, name string) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.in(cell, k).Get(context.WithoutCancel(b.t.Context()), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return obj
}

func (b *bed) envelopes(cell string) dynamic.ResourceInterface {
	return b.dynamic[cell].Resource(secrets.GroupVersionResource).Namespace(v1alpha1.Namespace)
}

// seal puts the envelope of an object as it is into a cell, and returns its name.
func (b *bed) seal(cell string, k kind, obj *unstructured.Unstructured, edits ...func(*corev1.Secret)) string {
	b.t.Helper()
	body, err := obj.MarshalJSON()
	if err != nil {
		b.t.Fatal(err)
	}
	secret, err := b.sealer.Seal(envelope.Source{
		Resource: k.Resource, Unit: b.namespace + "/" + obj.GetName(), Cell: dead, BackupCell: cell, Epoch: epoch - 2, Written: time.Now(),
	}, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, edit := range edits {
		edit(secret)
	}
	kube, err := kubernetes.NewForConfig(b.configs[cell])
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := kube.CoreV1().Secrets(v1alpha1.Namespace).Create(b.t.Context(), secret, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	return secret.Name
}

// sealed says whether a cell has an envelope.
func (b *bed) sealed(cell, name string) bool {
	b.t.Helper()
	_, err := b.envelopes(cell).Get(context.WithoutCancel(b.t.Context()), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		b.t.Fatal(err)
	}
	return err == nil
}

// promote wants an outcome.
func (b *bed) promote(cell, name string, want promotion.Outcome) promotion.Result {
	b.t.Helper()
	result := b.promoter(nil).Promote(b.t.Context(), cell, name)
	if result.Outcome != want {
		b.t.Errorf("promote %s: %+v; want %s", name, result, want)
	}
	return result
}

// same compares whole objects but for what a server sets.
func same(before, after *unstructured.Unstructured) string {
	clean := func(obj *unstructured.Unstructured) map[string]any {
		if obj == nil {
			return nil
		}
		obj = obj.DeepCopy()
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation"} {
			unstructured.RemoveNestedField(obj.Object, "metadata", field)
		}
		annotations := obj.GetAnnotations()
		delete(annotations, v1alpha1.AnnotationPlacementEpoch)
		delete(annotations, v1alpha1.AnnotationPromotedFrom)
		if obj.SetAnnotations(annotations); len(annotations) == 0 {
			obj.SetAnnotations(nil)
		}
		return obj.Object
	}
	return cmp.Diff(clean(before), clean(after))
}

// promoted wants an object as it was, in the epoch of the ring, and no envelope of it. owners are the UIDs that its
// owners have now, by those that they had.
func (b *bed) promoted(cell string, k kind, before *unstructured.Unstructured, envelope string, owners map[string]string) *unstructured.Unstructured {
	b.t.Helper()
	after := b.get(cell, k, before.GetName())
	want := before.DeepCopy()
	refs := want.GetOwnerReferences()
	for i := range refs {
		if uid := owners[string(refs[i].UID)]; uid != "" {
			refs[i].UID = schemaUID(uid)
		}
	}
	if len(refs) > 0 {
		want.SetOwnerReferences(refs)
	}
	if diff := same(want, after); diff != "" {
		b.t.Errorf("%s %s (-before +after):\n%s", k.kind, before.GetName(), diff)
		return after
	}
	if got := after.GetAnnotations()[v1alpha1.AnnotationPlacementEpoch]; got != "9" {
		b.t.Errorf("%s %s has placement epoch %q", k.kind, before.GetName(), got)
	}
	from := migration.Origin(dead, before.GetUID(), before.GetResourceVersion())
	if got := after.GetAnnotations()[v1alpha1.AnnotationPromotedFrom]; got != from {
		b.t.Errorf("%s %s was promoted from %q, want %q", k.kind, before.GetName(), got, from)
	}
	if b.sealed(cell, envelope) {
		b.t.Errorf("the envelope of %s %s is still there", k.kind, before.GetName())
	}
	return after
}
