package router_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router"
)

// newMovingBed runs a router for a federation in which every key moves from cell-1 to cell-2.
func newMovingBed(t *testing.T, options ...func(*router.Config)) *bed {
	t.Helper()
	b := newBedOn(t, movingPlanes.Configs(t), foundMoving)
	b.forgetRouters(t)
	b.stateDir = t.TempDir()
	b.router, _ = startRouter(t, b.rcp, b.stateDir, options...)
	b.phase(t, v1alpha1.RingRebalancing)
	return b
}

// phase sets the ring's phase and waits until the router serves it. While Stable all keys are in cell-2. Replication
// controllers are Dependent, and pods are Sharded.
func (b *bed) phase(t *testing.T, phase v1alpha1.RingPhase) {
	t.Helper()
	one := func(cell string) *v1alpha1.RingLayout {
		return &v1alpha1.RingLayout{Members: []v1alpha1.RingMember{{Cell: cell, Weight: 100}}, PointsPerWeight: 10,
			Resources: []v1alpha1.ResourceRule{{Resource: "replicationcontrollers", Class: "Dependent"}, {Resource: "pods", Class: "Sharded"}}}
	}
	b.awaitAcknowledged(t, b.editRing(t, func(s *v1alpha1.RingStatus) {
		s.Epoch++
		s.Phase, s.Current, s.Target = phase, one("cell-1"), one("cell-2")
		if phase == v1alpha1.RingStable {
			s.Current, s.Target = one("cell-2"), nil
		}
	}), 1)
}

// lay puts a config map into a cell that says where it lies. Its state is that of a move; "absent" lays nothing.
func (b *bed) lay(t *testing.T, cell, namespace, name, state string) {
	t.Helper()
	if state == "absent" {
		return
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"in": cell}}
	if state != "plain" {
		object.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: state}
	}
	if _, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// said is what a request ended with: where the object was found, or the reason of a refusal.
func said(object *corev1.ConfigMap, err error) string {
	switch {
	case apierrors.IsTooManyRequests(err):
		return "429"
	case apierrors.IsNotFound(err):
		return "404"
	case apierrors.IsAlreadyExists(err):
		return "exists"
	case apierrors.IsConflict(err):
		return "conflict"
	case err != nil:
		return err.Error()
	case object.Data["in"] == "":
		return "ok"
	}
	return object.Data["in"]
}

func TestLabelsTellWhereAMovingObjectIs(t *testing.T) {
	t.Parallel() // no other test that is has these control planes
	b := newMovingBed(t)
	ns := b.namespace(t, "moving")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	verbs := map[string]func(name string) string{
		"get": func(name string) string { return said(maps.Get(t.Context(), name, metav1.GetOptions{})) },
		"create": func(name string) string {
			return said(maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
		},
		"update": func(name string) string {
			return said(maps.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.UpdateOptions{}))
		},
		"patch": func(name string) string {
			return said(maps.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"new":"1"}}`), metav1.PatchOptions{}))
		},
		"apply": func(name string) string {
			return said(maps.Apply(t.Context(), applycorev1.ConfigMap(name, ns), metav1.ApplyOptions{FieldManager: "test", Force: true}))
		},
		"delete": func(name string) string {
			return said(&corev1.ConfigMap{}, maps.Delete(t.Context(), name, metav1.DeleteOptions{}))
		},
		// An apiserver takes what is before the semicolon for the type.
		"apply-utf8": func(name string) string {
			cm := &corev1.ConfigMap{}
			return said(cm, kube(t, impatient(b.router)).CoreV1().RESTClient().Patch(types.ApplyYAMLPatchType).Namespace(ns).Resource("configmaps").Name(name).Param("fieldManager", "test").Param("force", "true").
				SetHeader("Content-Type", string(types.ApplyYAMLPatchType)+"; charset=utf-8").
				Body(fmt.Appendf(nil, "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}", name)).Do(t.Context()).Into(cm))
		},
	}
	const in1, in2 = "cell-1", "cell-2"
	tests := []struct {
		phase    v1alpha1.RingPhase
		old, now string
		want     map[string]string
	}{
		{v1alpha1.RingRebalancing, "plain", "absent", map[string]string{"get": in1, "create": "exists", "update": "ok", "patch": in1, "apply": in1, "delete": "ok"}},
		{v1alpha1.RingRebalancing, "plain", "incoming", map[string]string{"get": in1, "patch": in1}},
		{v1alpha1.RingRebalancing, "plain", "migrated", map[string]string{"get": in1, "patch": in1}},
		{v1alpha1.RingRebalancing, "migrating", "incoming", map[string]string{"get": in1, "create": "429", "update": "429", "patch": "429", "apply": "429", "delete": "429"}},
		{v1alpha1.RingRebalancing, "migrated", "incoming", map[string]string{"get": in2, "create": "429", "update": "429", "patch": "429", "apply": "429", "delete": "429"}},
		{v1alpha1.RingRebalancing, "migrated", "plain", map[string]string{"get": in2, "create": "exists", "update": "ok", "patch": in2, "apply": in2, "delete": "ok"}},
		{v1alpha1.RingRebalancing, "migrated", "absent", map[string]string{"get": "404", "create": "ok", "update": "404", "patch": "404", "apply": "ok", "delete": "404"}},
		{v1alpha1.RingRebalancing, "absent", "plain", map[string]string{"get": in2, "create": "exists", "update": "ok", "patch": in2, "apply": in2, "delete": "ok"}},
		{v1alpha1.RingRebalancing, "absent", "absent", map[string]string{"get": "404", "create": "ok", "update": "404", "patch": "404", "apply": "ok", "delete": "404"}},
		{v1alpha1.RingRebalancing, "absent", "incoming", map[string]string{"get": "404", "create": "429", "apply": "429", "delete": "429"}},
		{v1alpha1.RingRebalancing, "absent", "migrated", map[string]string{"get": "404", "create": "ok", "update": "404", "patch": "404", "apply": "ok", "delete": "404"}},
		// Some router may still not know where the key moves to.
		{v1alpha1.RingPreparing, "plain", "absent", map[string]string{"get": in1, "update": "ok", "patch": in1, "apply": in1, "delete": "ok"}},
		{v1alpha1.RingPreparing, "absent", "absent", map[string]string{"get": "404", "create": "429", "update": "429", "patch": "404", "apply": "429", "delete": "404"}},
		{v1alpha1.RingPreparing, "absent", "plain", map[string]string{"get": in2, "patch": in2, "apply": in2}},
		{v1alpha1.RingSettling, "absent", "absent", map[string]string{"get": "404", "create": "ok", "apply": "ok"}},
		// cell-2 is where they all are; what lies in cell-1 counts no more.
		{v1alpha1.RingStable, "plain", "absent", map[string]string{"get": "404", "create": "ok"}},
		{v1alpha1.RingStable, "absent", "migrated", map[string]string{"get": "404", "create": "ok", "update": "404", "patch": "404", "apply": "ok", "delete": "404"}},
		{v1alpha1.RingStable, "absent", "incoming", map[string]string{"get": "404", "create": "ok", "patch": "404", "apply": "ok"}},
		{v1alpha1.RingStable, "absent", "migrating", map[string]string{"get": in2, "patch": "429", "delete": "429"}},
	}
	phase := v1alpha1.RingRebalancing
	for i, test := range tests {
		if test.phase != phase {
			phase = test.phase
			b.phase(t, phase)
		}
		if want, also := test.want["apply"]; also {
			test.want["apply-utf8"] = want
		}
		for verb, want := range test.want {
			name := fmt.Sprintf("x-%d-%s", i, verb)
			b.lay(t, "cell-1", ns, name, test.old)
			b.lay(t, "cell-2", ns, name, test.now)
			if got := verbs[verb](name); got != want {
				t.Errorf("%s: %s in the old cell and %s in the new one: %s is answered with %s; want %s", phase, test.old, test.now, verb, got, want)
			}
			if want != "ok" || verb != "create" && !strings.HasPrefix(verb, "apply") || test.old == "plain" && test.phase != v1alpha1.RingStable || test.now == "plain" {
				continue
			}
			made, err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Errorf("%s of %s was answered and is not in cell-2: %v", verb, name, err)
				continue
			}
			marked := made.Annotations[v1alpha1.AnnotationPlacementEpoch] != ""
			if marked != (phase == v1alpha1.RingRebalancing || phase == v1alpha1.RingSettling) || made.Labels[v1alpha1.LabelRebalanceStatus] != "" {
				t.Errorf("%s in phase %s made %v", verb, phase, made.ObjectMeta)
			}
		}
	}
}

// TestADryRunLeavesTombstones: one may be the last copy of what has moved to a cell that is lost.
func TestADryRunLeavesTombstones(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "dryrun-tombstones")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	tries := map[string]func(name string) (*corev1.ConfigMap, error){
		"create": func(name string) (*corev1.ConfigMap, error) {
			return maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		},
		"apply": func(name string) (*corev1.ConfigMap, error) {
			return maps.Apply(t.Context(), applycorev1.ConfigMap(name, ns), metav1.ApplyOptions{FieldManager: "test", DryRun: []string{metav1.DryRunAll}})
		},
	}
	for _, phase := range []v1alpha1.RingPhase{v1alpha1.RingRebalancing, v1alpha1.RingStable} {
		b.phase(t, phase)
		for verb, try := range tries {
			name := strings.ToLower(string(phase)) + "-" + verb
			b.lay(t, "cell-2", ns, name, "migrated")
			made, err := try(name)
			if err != nil || made.Name != name || made.UID == "" || made.Labels[v1alpha1.LabelRebalanceStatus] != "" {
				t.Errorf("dry run of %s, %s: %v, %v; want what would be made", verb, phase, made, err)
			}
			left, err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || left.Labels[v1alpha1.LabelRebalanceStatus] != string(v1alpha1.Migrated) {
				t.Errorf("after the dry run of %s, %s: %v, %v; want the tombstone", verb, phase, left, err)
			}
			if holders := b.holders(t, ns, name); len(holders) != 1 {
				t.Errorf("after the dry run of %s, %s: it is in %v; want cell-2 alone", verb, phase, holders)
			}
		}
	}
}

// TestARefusedWriteLeavesTombstones: a config map cannot be made by an update, nor one that is not valid at all.
func TestARefusedWriteLeavesTombstones(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "refused-tombstones")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	b.lay(t, "cell-2", ns, "x", "migrated")
	if _, err := maps.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.UpdateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("update: %v; want not found", err)
	}
	invalid := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Data: map[string]string{"no/key": ""}}
	if _, err := maps.Create(t.Context(), invalid, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("create of what is not valid: %v", err)
	}
	left, err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil || left.Labels[v1alpha1.LabelRebalanceStatus] != string(v1alpha1.Migrated) {
		t.Errorf("left is %v, %v; want the tombstone", left, err)
	}
}

func TestVersionsGrowAcrossAMove(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "versions")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	b.lay(t, "cell-1", ns, "x", "plain")
	before, err := maps.Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.relabel(t, "cell-1", ns, "x", `"migrated"`)
	moved := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{v1alpha1.AnnotationPlacementEpoch: "2"}}}
	if _, err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Create(t.Context(), moved, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	after, err := maps.Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !less(before.ResourceVersion, after.ResourceVersion) {
		t.Errorf("version %s before the move and %s after it", before.ResourceVersion, after.ResourceVersion)
	}
	before.Data["late"] = "1"
	if _, err := maps.Update(t.Context(), before, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update with a version from before the move: %v; want a conflict", err)
	}
	if _, err := maps.Update(t.Context(), after, metav1.UpdateOptions{}); err != nil {
		t.Errorf("update with the version after the move: %v", err)
	}
}

// less compares versions as numbers of any length.
func less(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return strings.Compare(a, b) < 0
}

// TestListsShowMovingObjectsOnce reads objects in all states of a move.
func TestListsShowMovingObjectsOnce(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "lists")
	for _, o := range []struct{ name, old, now string }{
		{"a-stays", "plain", "absent"},
		{"b-copied", "migrating", "incoming"},
		{"c-moved", "migrated", "plain"},
		{"d-arrives", "migrated", "incoming"},
		{"e-new", "absent", "plain"},
		{"f-deleted", "migrated", "absent"},
		{"g-stale", "absent", "incoming"},
		{"h-back", "plain", "migrated"},
	} {
		b.lay(t, "cell-1", ns, o.name, o.old)
		b.lay(t, "cell-2", ns, o.name, o.now)
	}
	want := []string{"a-stays in cell-1", "b-copied in cell-1", "c-moved in cell-2", "d-arrives in cell-2", "e-new in cell-2", "h-back in cell-1"}
	for _, encoding := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		for _, limit := range []int64{0, 1, 3} {
			var got []string
			options := metav1.ListOptions{Limit: limit}
			for {
				page, err := maps.List(t.Context(), options)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range page.Items {
					if in := o.Data["in"]; in != "" { // not the cells' own root CA
						got = append(got, o.Name+" in "+in)
					}
				}
				if options.Continue = page.Continue; page.Continue == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, limit %d (-want +got):\n%s", encoding, limit, diff)
			}
		}
		one, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=c-moved"})
		if err != nil || len(one.Items) != 1 || one.Items[0].Data["in"] != "cell-2" {
			t.Errorf("list of one name = %v, %v; want the one in cell-2", one, err)
		}
	}
}

// TestAWatchFollowsAMove moves an object by hand under watches of its namespace and of its name.
func TestAWatchFollowsAMove(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "watches")
	b.lay(t, "cell-1", ns, "x", "plain")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var watches []watch.Interface
	for _, selector := range []string{"", "metadata.name=x"} {
		w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, FieldSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		watches = append(watches, w)
	}
	last := map[int]string{}
	expect := func(kind watch.EventType, in string) {
		t.Helper()
		for i, w := range watches {
			for e := range w.ResultChan() {
				o, ok := e.Object.(*corev1.ConfigMap)
				if !ok || o.Name != "x" {
					continue
				}
				if e.Type != kind || o.Data["in"] != in || !less(last[i], o.ResourceVersion) {
					t.Errorf("watch %d: %s of the object in %s, version %s after %s; want %s of that in %s", i, e.Type, o.Data["in"], o.ResourceVersion, last[i], kind, in)
				}
				last[i] = o.ResourceVersion
				break
			}
		}
	}
	label := func(cell, status string) {
		t.Helper()
		value := `null`
		if status != "" {
			value = `"` + status + `"`
		}
		epoch := map[string]string{"cell-1": `null`, "cell-2": `"2"`}[cell]
		patch := `{"metadata":{"annotations":{"` + v1alpha1.AnnotationPlacementEpoch + `":` + epoch + `},"labels":{"` + v1alpha1.LabelRebalanceStatus + `":` + value + `}}}`
		if _, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(ns).Patch(t.Context(), "x", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	label("cell-1", "migrating")
	expect(watch.Modified, "cell-1")
	b.lay(t, "cell-2", ns, "x", "incoming")
	label("cell-1", "migrated")
	label("cell-2", "")
	expect(watch.Modified, "cell-2")
	b.phase(t, v1alpha1.RingStable)
	if err := kube(t, fence.AsMover(b.cells["cell-1"])).CoreV1().ConfigMaps(ns).Delete(t.Context(), "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Patch(t.Context(), "x", types.MergePatchType, []byte(`{"data":{"more":"1"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(watch.Modified, "cell-2")
	if err := maps.Delete(t.Context(), "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(watch.Deleted, "cell-2")
}

// TestACollectionIsDeletedThroughAMove deletes objects in all states, one of which arrives meanwhile.
func TestACollectionIsDeletedThroughAMove(t *testing.T) {
	b := newMovingBed(t, waitingFor(5*time.Minute))
	ns := b.namespace(t, "collection")
	for _, o := range []struct{ name, old, now string }{
		{"a-gone", "migrated", "absent"},
		{"b-stays", "plain", "absent"},
		{"c-arrives", "migrating", "incoming"},
		{"d-moved", "migrated", "plain"},
	} {
		b.lay(t, "cell-1", ns, o.name, o.old)
		b.lay(t, "cell-2", ns, o.name, o.now)
	}
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	deleted := make(chan error, 1)
	go func() {
		deleted <- maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	}()
	// The deletion meets it in the middle, and the move does not go on before the router has finished its writes.
	until(t, "what does not move is deleted", func(ctx context.Context) bool {
		_, err := kube(t, b.cells["cell-1"]).CoreV1().ConfigMaps(ns).Get(ctx, "b-stays", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	b.awaitAcknowledged(t, b.nextWindow(t), 1)
	b.relabel(t, "cell-1", ns, "c-arrives", `"migrated"`)
	b.relabel(t, "cell-2", ns, "c-arrives", "null")
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	left, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("left are %v, %v; want none", left.Items, err)
	}
	for _, name := range []string{"a-gone", "c-arrives", "d-moved"} {
		if _, err := kube(t, b.cells["cell-1"]).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Errorf("tombstone of %s: %v; want it kept", name, err)
		}
	}
}

// TestNobodyLearnsMoreOfAMovingObjectThanHeMay asks without any rights.
func TestNobodyLearnsMoreOfAMovingObjectThanHeMay(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "rights")
	config := rest.CopyConfig(impatient(b.router))
	config.Impersonate.UserName = "nobody"
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	for name, states := range map[string][2]string{
		"absent": {"absent", "absent"}, "plain": {"plain", "absent"}, "busy": {"migrating", "incoming"}, "tombstone": {"absent", "migrated"},
	} {
		b.lay(t, "cell-1", ns, name, states[0])
		b.lay(t, "cell-2", ns, name, states[1])
		_, get := maps.Get(t.Context(), name, metav1.GetOptions{})
		_, create := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		_, update := maps.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.UpdateOptions{})
		remove := maps.Delete(t.Context(), name, metav1.DeleteOptions{})
		for verb, err := range map[string]error{"get": get, "create": create, "update": update, "delete": remove} {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s of one that is %s: %v; want forbidden", verb, name, err)
			}
		}
	}
	if _, err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Get(t.Context(), "tombstone", metav1.GetOptions{}); err != nil {
		t.Errorf("the tombstone: %v; want it kept", err)
	}
}

// TestOneNameIsNeverInTwoCells creates and deletes one name from several clients while its key moves.
func TestOneNameIsNeverInTwoCells(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "twins")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	for round := range 40 {
		name := fmt.Sprintf("x-%d", round)
		b.lay(t, "cell-1", ns, name, "plain")
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
				if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsTooManyRequests(err) {
					t.Error(err)
				}
			})
		}
		clients.Go(func() {
			if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
		clients.Wait()
		holders := b.holders(t, ns, name)
		if len(holders) > 1 {
			t.Errorf("round %d: it is in %v", round, holders)
		}
		for _, cell := range holders {
			o, err := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil && cell == "cell-1" && o.Data["in"] == "" {
				t.Errorf("round %d: it was made where its key moves from", round)
			}
		}
	}
}

// TestWhatIsDeletedWhileARingIsPreparedIsNotMadeAnew, in neither cell: other routers may still make it in the other one.
// It is deleted when the request is in its cell already.
func TestWhatIsDeletedWhileARingIsPreparedIsNotMadeAnew(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "early")
	b.phase(t, v1alpha1.RingPreparing)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	for _, cell := range []string{"cell-1", "cell-2"} {
		there := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns)
		var asked atomic.Bool
		b.webhook(t, cell, ns, "configmaps", admissionregistrationv1.OperationAll, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
			asked.Store(true)
			if o := review.Request.Operation; o == admissionv1.Create || o == admissionv1.Update {
				if err := there.Delete(context.Background(), review.Request.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					t.Error(err)
				}
			}
			return &admissionv1.AdmissionResponse{Allowed: true}
		})
		b.lay(t, cell, ns, "create", "plain")
		b.lay(t, cell, ns, "apply", "plain")
		until(t, "the webhook is asked", func(ctx context.Context) bool {
			_, err := there.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "try"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil && asked.Load()
		})
		_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "create"}}, metav1.CreateOptions{})
		if !apierrors.IsTooManyRequests(err) {
			t.Errorf("create of what is deleted in %s meanwhile: %v; want 429", cell, err)
		}
		_, err = maps.Apply(t.Context(), applycorev1.ConfigMap("apply", ns).WithData(map[string]string{"new": "1"}), metav1.ApplyOptions{FieldManager: "test", Force: true})
		if !apierrors.IsConflict(err) {
			t.Errorf("apply of what is deleted in %s meanwhile: %v; want a conflict", cell, err)
		}
		for _, name := range []string{"create", "apply"} {
			if holders := b.holders(t, ns, name); len(holders) > 0 {
				t.Errorf("%s of what was deleted in %s made it in %v", name, cell, holders)
			}
		}
	}
}

// TestAWatchOfOneNameEndsWithItsCell takes the cell of the object out of service.
func TestAWatchOfOneNameEndsWithItsCell(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "ends")
	b.phase(t, v1alpha1.RingStable)
	b.lay(t, "cell-2", ns, "x", "plain")
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	w, err := maps.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	if e := <-w.ResultChan(); e.Type != watch.Added {
		t.Fatalf("first event %s; want ADDED", e.Type)
	}
	b.unavailable(t, "cell-2")
	t.Cleanup(func() { b.unavailable(t) })
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			if err := apierrors.FromObject(e.Object); !apierrors.IsResourceExpired(err) {
				t.Errorf("the watch ends with %v; want 410", err)
			}
			break
		}
	}
	if _, err := maps.Get(t.Context(), "x", metav1.GetOptions{}); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "cell-2") {
		t.Errorf("get of an object in a cell that was failed over: %v; want 503 that names it", err)
	}
	if code, body := get(t, b.router, "/metrics", ""); code != http.StatusOK || strings.Contains(body, `cell_up{cell="cell-2"}`) || !strings.Contains(body, `cell_up{cell="cell-1"} 1`) {
		t.Errorf("%d; want no alert of a cell that was failed over, which nobody waits for:\n%s", code, body)
	}
	b.phase(t, v1alpha1.RingRebalancing) // to cell-2, from cell-1
	_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{})
	if !apierrors.IsServiceUnavailable(err) {
		t.Errorf("create in a cell that was failed over: %v; want 503", err)
	}
}

// unavailable says which cells were failed over and waits until the router knows.
func (b *bed) unavailable(t *testing.T, cells ...string) {
	t.Helper()
	b.editRing(t, func(s *v1alpha1.RingStatus) {
		s.Epoch++
		s.Unavailable = cells
	})
}
