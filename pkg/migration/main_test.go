package migration_test

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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the cells of all tests, "old" and "new".
var planes = sandboxtest.NewPool(2)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// fences are raised by the first test.
var fences sync.Once

func raise(t testing.TB, s side) {
	t.Helper()
	_, err := s.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.Namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := fence.Install(t.Context(), s.config); err != nil {
		t.Fatal(err)
	}
	if err := fence.Await(t.Context(), s.config); err != nil {
		t.Fatal(err)
	}
}

// side is one cell as a test looks at it.
type side struct {
	config *rest.Config
	// dynamic passes the fence, for what the fence or its absence would have let happen; admin does not.
	dynamic, admin dynamic.Interface
	kube           kubernetes.Interface
}

// bed is two cells with a namespace for the test in both.
type bed struct {
	t         testing.TB
	old, new  side
	namespace string
	cells     map[string]*migration.Cell
	requests  *requestLog
}

func newBed(t testing.TB) *bed {
	t.Helper()
	configs := planes.Configs(t)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "-").Replace(t.Name()))
	b := &bed{t: t, namespace: name[:min(len(name), 60)], requests: &requestLog{}}
	b.old, b.new = newSide(t, configs[0]), newSide(t, configs[1])
	fences.Do(func() {
		for _, s := range []side{b.old, b.new} {
			raise(t, s)
		}
	})
	for _, s := range []side{b.old, b.new} {
		_, err := s.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	b.connect()
	return b
}

// connect discovers both cells, again after a definition was made.
func (b *bed) connect() {
	b.t.Helper()
	b.cells = map[string]*migration.Cell{}
	for name, s := range map[string]side{"old": b.old, "new": b.new} {
		config := fence.AsMover(s.config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return b.requests.of(name, next) })
		cell, err := migration.Connect(name, config)
		if err != nil {
			b.t.Fatal(err)
		}
		b.cells[name] = cell
	}
	b.requests.take()
}

func newSide(t testing.TB, config *rest.Config) side {
	t.Helper()
	config.QPS, config.Burst = -1, -1
	s := side{config: config}
	var err error
	if s.dynamic, err = dynamic.NewForConfig(fence.AsMover(config)); err != nil {
		t.Fatal(err)
	}
	if s.admin, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if s.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return s
}

// requestLog is what the mover asked for.
type requestLog struct {
	mu  sync.Mutex // guards all
	all []string
	// before is called with each request, if set.
	before func(cell string, r *http.Request)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (l *requestLog) of(cell string, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		l.mu.Lock()
		l.all = append(l.all, r.Method+" "+cell)
		before := l.before
		l.mu.Unlock()
		if before != nil {
			before(cell, r)
		}
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		// What is in flight when its mover is killed is carried out before anything else goes on.
		return next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
	})
}

func (l *requestLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.all
	l.all = nil
	return out
}

// kind is a resource that tests use.
type kind struct {
	migration.Resource
}

func sharded(group, version, resource, kindName string, status bool) kind {
	return kind{migration.Resource{
		GroupVersionResource: schema.GroupVersionResource{Group: group, Version: version, Resource: resource},
		Kind:                 kindName, Namespaced: true, Status: status, Class: placement.Sharded,
	}}
}

func (b *bed) in(s side, k kind) dynamic.ResourceInterface {
	return s.dynamic.Resource(k.GroupVersionResource).Namespace(b.namespace)
}

// make creates an object from YAML in a cell, then writes its status as another manager, if it has one.
func (b *bed) make(s side, k kind, text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := b.parse(k, text)
	status, hasStatus := obj.Object["status"]
	made, err := b.in(s, k).Create(b.t.Context(), obj, metav1.CreateOptions{FieldManager: "author"})
	if err != nil {
		b.t.Fatalf("create %s: %v", obj.GetName(), err)
	}
	if hasStatus && k.Status {
		made.Object["status"] = status
		if _, err = b.in(s, k).UpdateStatus(b.t.Context(), made, metav1.UpdateOptions{FieldManager: "controller"}); err != nil {
			b.t.Fatalf("status of %s: %v", obj.GetName(), err)
		}
	}
	return b.get(s, k, obj.GetName())
}

func (b *bed) parse(k kind, text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		b.t.Fatal(err)
	}
	obj.SetAPIVersion(k.GroupVersion().String())
	obj.SetKind(k.Kind)
	return obj
}

// get returns nil where there is none.
func (b *bed) get(s side, k kind, name string) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.in(s, k).Get(context.WithoutCancel(b.t.Context()), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return obj
}

// unit is that of objects as they are now.
func (b *bed) unit(objects ...migration.Object) migration.Unit {
	return migration.Unit{Key: b.namespace + "/" + objects[0].Name, From: "old", To: "new", Objects: objects}
}

func (b *bed) found(k kind, obj *unstructured.Unstructured) migration.Object {
	return migration.Object{
		Resource: k.Resource, Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), Owners: obj.GetOwnerReferences(),
		Status:   v1alpha1.RebalanceStatus(obj.GetLabels()[v1alpha1.LabelRebalanceStatus]),
		Deleting: obj.GetDeletionTimestamp() != nil,
	}
}

func (b *bed) mover() *migration.Mover {
	return &migration.Mover{Cells: b.cells, Rebalance: "run-1", Epoch: 7, Clock: clock.RealClock{}}
}

// move wants an outcome.
func (b *bed) move(unit migration.Unit, want migration.Outcome) migration.Result {
	b.t.Helper()
	result := b.mover().Move(b.t.Context(), unit)
	if result.Outcome != want {
		b.t.Fatalf("move %s: %s (%s), want %s", unit, result.Outcome, result.Message, want)
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
		if obj.SetAnnotations(annotations); len(annotations) == 0 {
			obj.SetAnnotations(nil)
		}
		return obj.Object
	}
	return cmp.Diff(clean(before), clean(after))
}

// awaitAbsent waits until the garbage collector has orphaned what there was, and the object is gone. Of a
// new definition's objects it takes notice within half a minute.
func (b *bed) awaitAbsent(s side, k kind, name string) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return b.get(s, k, name) == nil, nil
	})
	if err != nil {
		b.t.Fatalf("%s is still there: %v", name, b.get(s, k, name))
	}
}

// untouched wants an object to be as it was in the old cell, and absent from the new one.
func (b *bed) untouched(k kind, before *unstructured.Unstructured) {
	b.t.Helper()
	if diff := same(before, b.get(b.old, k, before.GetName())); diff != "" {
		b.t.Errorf("%s after the undo (-before +after):\n%s", before.GetName(), diff)
	}
	b.awaitAbsent(b.new, k, before.GetName())
}

func ownerRef(k kind, obj *unstructured.Unstructured) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: k.GroupVersion().String(), Kind: k.Kind, Name: obj.GetName(), UID: obj.GetUID(), Controller: &yes,
	}
}

// patch merges into an object of a cell.
func (b *bed) patch(s side, k kind, name, patch string, subresource ...string) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.in(s, k).Patch(b.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "author"}, subresource...)
	if err != nil {
		b.t.Fatalf("patch %s: %v", name, err)
	}
	return obj
}

// awaitData waits for the token controller.
func (b *bed) awaitData(s side) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		obj := b.get(s, secrets, "x")
		return obj != nil && obj.Object["data"] != nil, nil
	})
	if err != nil {
		b.t.Fatalf("no token: %v", b.get(s, secrets, "x"))
	}
}
