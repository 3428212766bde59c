package replication_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are an RCP and two cells. Tests keep out of each other's way by names of their own.
var planes = sandboxtest.NewPool(3)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// side is one control plane.
type side struct {
	config *rest.Config
	kube   kubernetes.Interface
	dyn    dynamic.Interface
}

func newSide(t *testing.T, config *rest.Config) side {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return side{config, kube, dyn}
}

func (s side) asCell() replication.Cell { return replication.Cell{Name: "cell", Client: s.dyn} }

func sides(t *testing.T) (rcp, cell side) {
	t.Helper()
	configs := planes.Configs(t)
	return newSide(t, configs[0]), newSide(t, configs[1])
}

func namespace(name string) replication.Object {
	return replication.Object{Resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, Name: name}
}

func clusterRole(name string) replication.Object {
	return replication.Object{Resource: rbacv1.SchemeGroupVersion.WithResource("clusterroles"), Name: name}
}

func push(t *testing.T, rcp, cell side, o replication.Object) {
	t.Helper()
	if err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), o); err != nil {
		t.Fatal(err)
	}
}

func makeNamespace(t *testing.T, s side, name string, labels map[string]string) *corev1.Namespace {
	t.Helper()
	ns, err := s.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// makeRole makes a cluster role with these rights to pods.
func makeRole(t *testing.T, s side, name string, verbs ...string) *rbacv1.ClusterRole {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if len(verbs) > 0 {
		role.Rules = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}}
	}
	role, err := s.kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return role
}

func emptyRing(t *testing.T) *routing.Snapshot {
	t.Helper()
	snap, err := routing.FromRing(&v1alpha1.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestPushFollowsTheSource(t *testing.T) {
	rcp, cell := sides(t)
	source := makeNamespace(t, rcp, "follow", map[string]string{"team": "a"})
	push(t, rcp, cell, namespace("follow"))
	got, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "follow", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Labels["team"] != "a" || got.Annotations[v1alpha1.AnnotationReplicatedFrom] != string(source.UID) {
		t.Errorf("copy has labels %v, annotations %v", got.Labels, got.Annotations)
	}
	// What the cell adds stays, what the source drops goes.
	patch(t, cell, "follow", `{"metadata":{"labels":{"cell":"own"}}}`)
	patch(t, rcp, "follow", `{"metadata":{"labels":{"team":null}}}`)
	push(t, rcp, cell, namespace("follow"))
	got, err = cell.kube.CoreV1().Namespaces().Get(t.Context(), "follow", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, stale := got.Labels["team"]; stale || got.Labels["cell"] != "own" {
		t.Errorf("labels = %v; want the cell's own and not the source's old one", got.Labels)
	}
	if err := rcp.kube.CoreV1().Namespaces().Delete(t.Context(), "follow", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	push(t, rcp, cell, namespace("follow"))
	got, err = cell.kube.CoreV1().Namespaces().Get(t.Context(), "follow", metav1.GetOptions{})
	if err == nil && got.DeletionTimestamp == nil {
		t.Error("the copy of a deleted source is not being deleted")
	}
}

func patch(t *testing.T, s side, name, data string) {
	t.Helper()
	if _, err := s.kube.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, []byte(data), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestPushWaitsForAnOldCopyToGo(t *testing.T) {
	rcp, cell := sides(t)
	makeNamespace(t, rcp, "again", nil)
	push(t, rcp, cell, namespace("again"))
	// The copy is held until the finalizer goes, after the push of the new source has begun.
	patch(t, cell, "again", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	endNamespace(t, rcp, cell, "again")
	source := makeNamespace(t, rcp, "again", nil)
	pushed := make(chan error, 1)
	go func() { pushed <- replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("again")) }()
	patch(t, cell, "again", `{"metadata":{"finalizers":null}}`)
	if err := <-pushed; err != nil {
		t.Fatal(err)
	}
	got, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "again", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp != nil || got.Annotations[v1alpha1.AnnotationReplicatedFrom] != string(source.UID) {
		t.Errorf("copy = %+v, %v; want a living copy of the new source", got, err)
	}
}

// endNamespace deletes it, tells the cell, and has the source go though the cell still has its copy.
func endNamespace(t *testing.T, rcp, cell side, name string) {
	t.Helper()
	namespaces := rcp.kube.CoreV1().Namespaces()
	if err := namespaces.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	push(t, rcp, cell, namespace(name))
	patch(t, rcp, name, `{"metadata":{"finalizers":null}}`)
	await(t, "the source to be gone", func(ctx context.Context) string {
		if _, err := namespaces.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
}

// deleteNamespace deletes it behind everybody's back: the finalizer, for which a Controller would wait
// for the cells, is taken off by hand.
func deleteNamespace(t *testing.T, s side, name string) {
	t.Helper()
	patch(t, s, name, `{"metadata":{"finalizers":null}}`)
	w, err := s.kube.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := s.kube.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for event := range w.ResultChan() {
		if event.Type == "DELETED" {
			return
		}
	}
	t.Fatalf("namespace %s was not deleted", name)
}

func TestWhatIsInANamespaceThatEndsNeedsNoCopy(t *testing.T) {
	rcp, cell := sides(t)
	account := replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("serviceaccounts"), Namespace: "ending", Name: "builder"}
	makeNamespace(t, rcp, "ending", nil)
	_, err := rcp.kube.CoreV1().ServiceAccounts("ending").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "builder"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), account); !apierrors.IsNotFound(err) {
		t.Fatalf("push without the namespace = %v; want not found", err)
	}
	if err := rcp.kube.CoreV1().Namespaces().Delete(t.Context(), "ending", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	push(t, rcp, cell, account)
}

// TestPushesAtOnceConverge has writers that change one source, each pushing its own change: a push that
// read an older source must not have the last word.
func TestPushesAtOnceConverge(t *testing.T) {
	rcp, cell := sides(t)
	makeNamespace(t, rcp, "converge", nil)
	var writers sync.WaitGroup
	for writer := range 6 {
		writers.Go(func() {
			for i := range 8 {
				data := `{"metadata":{"labels":{"last":"` + strconv.Itoa(writer) + "-" + strconv.Itoa(i) + `"}}}`
				if _, err := rcp.kube.CoreV1().Namespaces().Patch(t.Context(), "converge", types.MergePatchType, []byte(data), metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
				if err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("converge")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	source, err := rcp.kube.CoreV1().Namespaces().Get(t.Context(), "converge", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	copied, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "converge", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if source.Labels["last"] != copied.Labels["last"] {
		t.Errorf("source says %s, copy says %s", source.Labels["last"], copied.Labels["last"])
	}
}

func TestSync(t *testing.T) {
	rcp, cell := sides(t)
	makeNamespace(t, rcp, "synced", map[string]string{"team": "a"})
	lost := makeNamespace(t, rcp, "lost-with-the-rcp", nil)
	push(t, rcp, cell, namespace(lost.Name))
	deleteNamespace(t, rcp, lost.Name)
	stale := makeRole(t, rcp, "stale")
	push(t, rcp, cell, clusterRole("stale"))
	if err := rcp.kube.RbacV1().ClusterRoles().Delete(t.Context(), "stale", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	makeNamespace(t, cell, "of-the-cell", nil)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "of-the-rcp"}}
	if _, err := rcp.kube.RbacV1().Roles("kube-system").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := roleVersion(t, cell)
	report, err := replication.Sync(t.Context(), rcp.config, cell.config, "cell", emptyRing(t))
	// Another test's foreign namespace may be there too; each is named, and stops nothing.
	if !errors.Is(err, replication.ErrForeign) || !strings.Contains(err.Error(), lost.Name) {
		t.Fatalf("error %v; want that nobody knows of %s any more", err, lost.Name)
	}
	if report.Applied == 0 || report.Deleted == 0 || report.Objects < report.Applied {
		t.Errorf("report = %+v; want something applied and something deleted", report)
	}
	namespaces := cell.kube.CoreV1().Namespaces()
	if got, err := namespaces.Get(t.Context(), "synced", metav1.GetOptions{}); err != nil || got.Labels["team"] != "a" {
		t.Errorf("synced: %v, %v", got, err)
	}
	if got, err := namespaces.Get(t.Context(), lost.Name, metav1.GetOptions{}); err != nil || got.DeletionTimestamp != nil {
		t.Errorf("%s: %v, %v; want it left alone with the workloads in it", lost.Name, got, err)
	}
	if _, err := cell.kube.RbacV1().ClusterRoles().Get(t.Context(), stale.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the copy of %s, which is gone: %v; want not found", stale.UID, err)
	}
	if _, err := namespaces.Get(t.Context(), "of-the-cell", metav1.GetOptions{}); err != nil {
		t.Errorf("the cell's own namespace: %v", err)
	}
	if _, err := cell.kube.RbacV1().Roles("kube-system").Get(t.Context(), "of-the-rcp", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a role of the RCP's kube-system: %v; want not found, its rights are for the RCP alone", err)
	}
	if after := roleVersion(t, cell); after != before {
		t.Errorf("cluster role edit was written (%s to %s), though it says the same in both", before, after)
	}
	if _, err := cell.kube.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion().String()); !apierrors.IsNotFound(err) {
		t.Errorf("the cell serves %s: %v", v1alpha1.GroupName, err)
	}
}

func roleVersion(t *testing.T, s side) string {
	t.Helper()
	role, err := s.kube.RbacV1().ClusterRoles().Get(t.Context(), "edit", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return role.ResourceVersion
}

func TestPushEndsWithItsContext(t *testing.T) {
	rcp, cell := sides(t)
	makeNamespace(t, rcp, "bounded", nil)
	push(t, rcp, cell, namespace("bounded"))
	patch(t, cell, "bounded", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	endNamespace(t, rcp, cell, "bounded")
	makeNamespace(t, rcp, "bounded", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := replication.Push(ctx, rcp.dyn, cell.asCell(), namespace("bounded")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("push = %v; want it to end with its context", err)
	}
	patch(t, cell, "bounded", `{"metadata":{"finalizers":null}}`)
}

// TestACellGathersTheRulesOfItsRoles: what a role aggregates in a cell is none of the RCP's, which would fight for it with the
// cell's controller for ever.
func TestACellGathersTheRulesOfItsRoles(t *testing.T) {
	rcp, cell := sides(t)
	const name = "gathers"
	gathers := &rbacv1.ClusterRole{
		ObjectMeta:      metav1.ObjectMeta{Name: name},
		AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"gathered": "yes"}}}},
	}
	if _, err := rcp.kube.RbacV1().ClusterRoles().Create(t.Context(), gathers, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	push(t, rcp, cell, clusterRole(name))
	roles := cell.kube.RbacV1().ClusterRoles()
	gathered := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "gathered", Labels: gathers.AggregationRule.ClusterRoleSelectors[0].MatchLabels},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
	}
	if _, err := roles.Create(t.Context(), gathered, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var copied *rbacv1.ClusterRole
	await(t, "the copy", func(ctx context.Context) string {
		var err error
		if copied, err = roles.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		if len(copied.Rules) == 0 {
			return "it has no rules yet"
		}
		return ""
	})
	push(t, rcp, cell, clusterRole(name))
	after, err := roles.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != copied.ResourceVersion {
		t.Errorf("the copy was written: rules %v, want what the cell has gathered", after.Rules)
	}
}
