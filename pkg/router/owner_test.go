package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// apart returns two names of config maps that the ring places in different cells, and a third one beside the
// first.
func (b *bed) apart(t *testing.T, ns string) (name, far, beside string) {
	t.Helper()
	snap := b.snapshot(t)
	cellOf := func(name string) string {
		p, ok := snap.Table.Lookup(0, ns, name)
		if !ok {
			t.Fatal("nothing is placed")
		}
		return p.Old()
	}
	name = "n-0"
	for i := 1; far == "" || beside == ""; i++ {
		other := fmt.Sprint("n-", i)
		if cellOf(other) == cellOf(name) {
			beside = other
		} else {
			far = other
		}
	}
	return name, far, beside
}

func ownedBy(m *corev1.ConfigMap, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: m.Name, UID: m.UID},
	}}}
}

// A cell's garbage collector would delete what belongs to an owner in another cell.
func TestAnOwnerInAnotherCellIsRefused(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "owned")
	name, far, beside := b.apart(t, ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Create(t.Context(), ownedBy(owner, beside), metav1.CreateOptions{}); err != nil {
		t.Errorf("an owner in the same cell: %v", err)
	}
	_, err = maps.Create(t.Context(), ownedBy(owner, far), metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "garbage collector") {
		t.Errorf("create with an owner in another cell: %v; want a refusal that says why", err)
	}
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: far}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	reference := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","name":%q,"uid":%q}`, owner.Name, owner.UID)
	for kind, patch := range map[types.PatchType]string{
		types.MergePatchType:          `{"metadata":{"ownerReferences":[` + reference + `]}}`,
		types.StrategicMergePatchType: `{"metadata":{"ownerReferences":[` + reference + `]}}`,
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/ownerReferences","value":[` + reference + `]}]`,
	} {
		if _, err := maps.Patch(t.Context(), far, kind, []byte(patch), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("%s with an owner in another cell: %v; want a refusal", kind, err)
		}
	}
	namespace, err := kube(t, b.router).CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	child := ownedBy(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ns, UID: namespace.UID}}, "of-a-namespace")
	child.OwnerReferences[0].Kind = "Namespace"
	if _, err := maps.Create(t.Context(), child, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("an owner in the router control plane: %v; want a refusal", err)
	}
}

// TestAnOwnerThatNobodyCanLookForIsWaitedFor: it may be in the cell that does not answer.
func TestAnOwnerThatNobodyCanLookForIsWaitedFor(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "ownerdown")
	name, far, _ := b.apart(t, ns)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	down, _ := b.cellOf(t, ns, name)
	b.breakCell(t, down)
	until(t, "the router to know that "+down+" does not answer", func(ctx context.Context) bool {
		_, err := maps.Get(ctx, name, getOptions())
		return apierrors.IsServiceUnavailable(err)
	})
	_, err = maps.Create(t.Context(), ownedBy(owner, far), metav1.CreateOptions{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), down) {
		t.Errorf("create with an owner in a cell that does not answer: %v; want 503 that names %s", err, down)
	}
	nobody := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: far, UID: "a-uid-of-nobody"}}
	if _, err := maps.Create(t.Context(), ownedBy(nobody, far), metav1.CreateOptions{}); err != nil {
		t.Errorf("create with an owner that would be in a cell that answers, and is nowhere: %v", err)
	}
}

// A pod has no place of its own: it is made where its owner is, and stays.
func TestALocalObjectIsMadeWhereItsOwnerIs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "beside")
	client := kube(t, b.router).CoreV1()
	for i := range 6 {
		owner, err := client.ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("o-", i)}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/c:1"}}}}
		pod.ObjectMeta = ownedBy(owner, fmt.Sprint("p-", i)).ObjectMeta
		err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			_, err := client.Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
			if apierrors.IsForbidden(err) {
				return false, nil // the cell has not made the default service account yet
			}
			return true, err
		})
		if err != nil {
			t.Fatal(err)
		}
		for cell, config := range b.cells {
			_, podErr := kube(t, config).CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
			_, ownerErr := kube(t, config).CoreV1().ConfigMaps(ns).Get(t.Context(), owner.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(podErr) != apierrors.IsNotFound(ownerErr) {
				t.Errorf("in %s: pod: %v; its owner: %v", cell, podErr, ownerErr)
			}
		}
		// One without an owner would be made in the cell of the namespace.
		pod.OwnerReferences = nil
		until(t, "it is told that another "+pod.Name+" exists", func(ctx context.Context) bool { // a cell that is slow is not waited for
			_, err := client.Pods(ns).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return apierrors.IsAlreadyExists(err)
		})
	}
}

// TestOwnedObjectsAreWrittenWhileTheRCPHangs, and owners looked for: the cell says who may write there, and for nobody else
// they are.
func TestOwnedObjectsAreWrittenWhileTheRCPHangs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "ownerrcp")
	name, far, beside := b.apart(t, ns)
	if _, err := kube(t, b.router).CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	gate := sandboxtest.NewGate(t, b.rcp.Host)
	through := rest.CopyConfig(b.rcp)
	through.Host = gate.URL()
	config := impatient(runRouter(t, through, t.TempDir()))
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	var owner *corev1.ConfigMap
	until(t, "the router takes writes", func(ctx context.Context) bool {
		var err error
		owner, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err == nil
	})
	robot := anonymous(config)
	robot.BearerToken = b.token(t, ns, "robot")
	whoAmI(t, robot) // the router remembers that the token is good

	gate.Hang()
	defer gate.Pass()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // half as long as the RCP would be waited for
	defer cancel()
	if _, err := maps.Create(ctx, ownedBy(owner, beside), metav1.CreateOptions{}); err != nil {
		t.Errorf("an owner in the same cell: %v", err)
	}
	if _, err := maps.Create(ctx, ownedBy(owner, far), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("an owner in another cell: %v; want a refusal", err)
	}
	many := ownedBy(owner, beside)
	for i := range 64 {
		many.OwnerReferences = append(many.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "o", UID: types.UID(fmt.Sprint(i))})
	}
	if _, err := kube(t, robot).CoreV1().ConfigMaps(ns).Create(t.Context(), many, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("more owners than are looked for, by who may not write: %v; want forbidden", err)
	}
}

// TestWhereAnOwnerIsIsFoundOutOnce: whoever writes its dependents from then on, nobody is asked whether he may.
func TestWhereAnOwnerIsIsFoundOutOnce(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "owneronce")
	name, _, beside := b.apart(t, ns)
	cell, _ := b.cellOf(t, ns, name)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	asked := func() float64 {
		const series = `apiserver_request_total{code="201",component="apiserver",dry_run="",group="authorization.k8s.io",resource="subjectaccessreviews",`
		return measured(t, b.router, "/cells/"+cell+"/metrics", series)
	}
	before := asked()
	if _, err := maps.Create(t.Context(), ownedBy(owner, beside), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the cell has been asked", func(context.Context) bool { return asked() == before+1 })
	for range 5 {
		dependent := ownedBy(owner, beside)
		dependent.Data = map[string]string{"at": fmt.Sprint(time.Now())}
		if _, err := maps.Update(t.Context(), dependent, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked() - before; n != 1 {
		t.Errorf("the cell was asked %v times; want once", n)
	}
}
