package replication_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// bed is an RCP with two cells, of which the second is behind a relay that can be cut.
type bed struct {
	rcp   side
	cells map[string]side
	relay *relay
	// states tells the controller what cells there are.
	states  chan *replication.State
	access  map[string]replication.Access
	metrics *prometheus.Registry
	log     *sandboxtest.Buffer
}

// newBed runs a Controller until the test ends.
func newBed(t *testing.T) *bed {
	t.Helper()
	configs := planes.Configs(t)
	b := &bed{
		rcp:     newSide(t, configs[0]),
		cells:   map[string]side{"cell-1": newSide(t, configs[1]), "cell-2": newSide(t, configs[2])},
		relay:   newRelay(t, configs[2].Host),
		states:  make(chan *replication.State),
		metrics: prometheus.NewRegistry(),
		log:     &sandboxtest.Buffer{},
	}
	far := rest.CopyConfig(configs[2])
	far.Host = b.relay.url
	b.access = map[string]replication.Access{
		"cell-1": {Config: configs[1], Version: "1"}, "cell-2": {Config: far, Version: "1"},
	}
	controller, err := replication.NewController(replication.ControllerConfig{
		RCP: configs[0], Logger: slog.New(slog.NewTextHandler(b.log, nil)),
		Metrics: replication.NewMetrics(b.metrics), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx, b.states) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("controller: %v", err)
		}
	})
	b.setCells(t, "cell-1", "cell-2")
	return b
}

// setCells tells the controller that these are the cells, all of the same weight.
func (b *bed) setCells(t *testing.T, names ...string) {
	t.Helper()
	access := map[string]replication.Access{}
	for _, name := range names {
		access[name] = b.access[name]
	}
	b.states <- &replication.State{Snapshot: snapshotOf(t, names...), Cells: access}
}

func snapshotOf(t *testing.T, names ...string) *routing.Snapshot {
	t.Helper()
	layout := &v1alpha1.RingLayout{PointsPerWeight: 1}
	for _, name := range names {
		layout.Members = append(layout.Members, v1alpha1.RingMember{Cell: name, Weight: 100})
	}
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 1, Current: layout}})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

const (
	pollInterval = 50 * time.Millisecond
	pollTimeout  = time.Minute
)

// await waits for a condition; why says what is still missing.
func await(t *testing.T, what string, condition func(ctx context.Context) (why string)) {
	t.Helper()
	why := ""
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		why = condition(ctx)
		return why == "", nil
	})
	if err != nil {
		t.Fatalf("%s: %s", what, why)
	}
}

func (s side) hasNamespace(ctx context.Context, name string, want bool) string {
	_, err := s.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case want && err != nil:
		return err.Error()
	case !want && err == nil:
		return "namespace " + name + " is there"
	case !want && !apierrors.IsNotFound(err):
		return err.Error()
	}
	return ""
}

func (b *bed) awaitNamespace(t *testing.T, name string, want bool, in ...string) {
	t.Helper()
	for _, cell := range in {
		await(t, cell, func(ctx context.Context) string { return b.cells[cell].hasNamespace(ctx, name, want) })
	}
}

// repairs is the value of the counter.
func (b *bed) repairs(t *testing.T, cell, resource, action string) float64 {
	t.Helper()
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s %s %s", action, cell, resource) // labels are sorted by name
	for _, family := range families {
		if family.GetName() != "kubecell_replication_repairs_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if strings.Join(labels, " ") == want {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func role(verb string) *rbacv1.Role {
	return &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "drift"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{verb}}},
	}
}

// awaitRole waits for the role's verb in a cell; "" for its absence.
func (b *bed) awaitRole(t *testing.T, cell, ns, verb string) {
	t.Helper()
	await(t, cell, func(ctx context.Context) string {
		got, err := b.cells[cell].kube.RbacV1().Roles(ns).Get(ctx, "drift", metav1.GetOptions{})
		switch {
		case verb == "" && apierrors.IsNotFound(err):
			return ""
		case err != nil:
			return err.Error()
		case len(got.Rules) != 1 || got.Rules[0].Verbs[0] != verb:
			return fmt.Sprintf("rules are %v; want verb %q", got.Rules, verb)
		}
		return ""
	})
}

func TestDriftIsHealed(t *testing.T) {
	b := newBed(t)
	makeNamespace(t, b.rcp, "drift", nil)
	roles := b.rcp.kube.RbacV1().Roles("drift")
	if _, err := roles.Create(t.Context(), role("get"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	both := []string{"cell-1", "cell-2"}
	for _, cell := range both {
		b.awaitRole(t, cell, "drift", "get") // made at the source alone
	}
	inCell := b.cells["cell-1"].kube.RbacV1().Roles("drift")
	if _, err := inCell.Update(t.Context(), role("delete"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitRole(t, "cell-1", "drift", "get") // edited
	if err := inCell.Delete(t.Context(), "drift", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitRole(t, "cell-1", "drift", "get") // deleted
	if _, err := roles.Update(t.Context(), role("list"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, cell := range both {
		b.awaitRole(t, cell, "drift", "list") // changed at the source
	}
	if err := roles.Delete(t.Context(), "drift", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, cell := range both {
		b.awaitRole(t, cell, "drift", "") // deleted at the source
	}
	stray := role("watch")
	stray.Annotations = map[string]string{v1alpha1.AnnotationReplicatedFrom: "0000"}
	if _, err := inCell.Create(t.Context(), stray, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitRole(t, "cell-1", "drift", "") // a copy without a source
	if _, err := inCell.Create(t.Context(), role("watch"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The cell's own is looked at before the next thing that happens, and left alone.
	if _, err := roles.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "later"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "later", func(ctx context.Context) string {
		_, err := inCell.Get(ctx, "later", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		return ""
	})
	b.awaitRole(t, "cell-1", "drift", "watch")
	for action, want := range map[string]float64{"created": 3, "updated": 2, "deleted": 2} {
		await(t, "what is counted as "+action, func(context.Context) string {
			if got := b.repairs(t, "cell-1", "roles", action); got != want {
				return fmt.Sprintf("%v roles in cell-1; want %v", got, want)
			}
			return ""
		})
	}
}

func TestADeadCellIsRepairedWhenItIsBack(t *testing.T) {
	b := newBed(t)
	b.makeEverywhere(t, "away")
	if _, err := b.rcp.kube.RbacV1().Roles("away").Create(t.Context(), role("get"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitRole(t, "cell-2", "away", "get")
	b.relay.cut()
	makeNamespace(t, b.rcp, "made-meanwhile", nil)
	b.awaitNamespace(t, "made-meanwhile", true, "cell-1") // the dead one holds nothing up
	if err := b.cells["cell-2"].kube.RbacV1().Roles("away").Delete(t.Context(), "drift", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.relay.mend(t)
	b.awaitNamespace(t, "made-meanwhile", true, "cell-2")
	b.awaitRole(t, "cell-2", "away", "get")
}

// TestAnAggregatedAPIThatIsDownHoldsUpNothing: the RCP cannot say what that has, and everything else is replicated.
func TestAnAggregatedAPIThatIsDownHoldsUpNothing(t *testing.T) {
	rcp := newSide(t, planes.Configs(t)[0])
	services := rcp.dyn.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	const name = "v1.down.example.com"
	down := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"group": "down.example.com", "version": "v1", "groupPriorityMinimum": int64(1000), "versionPriority": int64(10),
			"insecureSkipTLSVerify": true, "service": map[string]any{"namespace": "default", "name": "nobody"},
		},
	}}
	if _, err := services.Create(t.Context(), down, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := services.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	await(t, "discovery", func(context.Context) string {
		if _, err := rcp.kube.Discovery().ServerPreferredResources(); err != nil {
			return ""
		}
		return "it does not fail"
	})
	b := newBed(t)
	b.makeEverywhere(t, "beside-one-that-is-down")
	b.deleteSource(t, "beside-one-that-is-down") // which waits for the API, as every namespace does
	b.awaitNamespace(t, "beside-one-that-is-down", false, "cell-1", "cell-2")
	if _, err := replication.Sync(t.Context(), rcp.config, b.cells["cell-1"].config, "cell-1", snapshotOf(t, "cell-1", "cell-2")); err != nil {
		t.Errorf("a cell is brought up to date: %v", err)
	}
}

// TestRightsThatBothHadGoWithTheirSource: a cell had the same binding before it joined.
func TestRightsThatBothHadGoWithTheirSource(t *testing.T) {
	const name = "in-both"
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "leaver"}},
	}
	configs := planes.Configs(t)
	for _, config := range configs[:2] {
		if _, err := newSide(t, config).kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBed(t)
	copied := b.cells["cell-1"].kube.RbacV1().ClusterRoleBindings()
	await(t, "the copy", func(ctx context.Context) string {
		got, err := copied.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if got.Annotations[v1alpha1.AnnotationReplicatedFrom] == "" {
			return "it is not marked"
		}
		return ""
	})
	if err := b.rcp.kube.RbacV1().ClusterRoleBindings().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the copy", func(ctx context.Context) string {
		if _, err := copied.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("want it gone: %v", err)
		}
		return ""
	})
}

// makeEverywhere makes a namespace and waits for its copies.
func (b *bed) makeEverywhere(t *testing.T, name string) {
	t.Helper()
	makeNamespace(t, b.rcp, name, nil)
	b.awaitNamespace(t, name, true, "cell-1", "cell-2")
}

func (b *bed) deleteSource(t *testing.T, name string) {
	t.Helper()
	if err := b.rcp.kube.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitCondition waits until the source says that it waits for cells in these words.
func (b *bed) awaitCondition(t *testing.T, name, message string) {
	t.Helper()
	await(t, name, func(ctx context.Context) string {
		ns, err := b.rcp.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		for _, c := range ns.Status.Conditions {
			if c.Type == v1alpha1.ConditionCellsRemaining && strings.Contains(c.Message, message) {
				return ""
			}
		}
		return fmt.Sprintf("conditions are %v; want one that says %q", ns.Status.Conditions, message)
	})
}

func (b *bed) awaitSourceGone(t *testing.T, name string) {
	t.Helper()
	await(t, "source", func(ctx context.Context) string { return b.rcp.hasNamespace(ctx, name, false) })
}

func TestANamespaceWaitsForADeadCell(t *testing.T) {
	b := newBed(t)
	b.makeEverywhere(t, "waits")
	b.relay.cut()
	b.deleteSource(t, "waits")
	b.awaitNamespace(t, "waits", false, "cell-1")
	b.awaitCondition(t, "waits", "waiting for cell-2 (cannot be reached)")
	b.relay.mend(t)
	b.awaitSourceGone(t, "waits")
	if why := b.cells["cell-2"].hasNamespace(t.Context(), "waits", false); why != "" {
		t.Errorf("the source is gone and in cell-2 %s", why)
	}
	b.makeEverywhere(t, "waits") // again: it meets no old copy
	if got := b.repairs(t, "cell-2", "namespaces", "deleted"); got == 0 {
		t.Error("the deletion in cell-2 is not counted")
	}
}

func TestANamespaceWaitsUntilACellHasEmptiedIt(t *testing.T) {
	b := newBed(t)
	b.makeEverywhere(t, "busy")
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	maps := b.cells["cell-1"].kube.CoreV1().ConfigMaps("busy")
	if _, err := maps.Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.deleteSource(t, "busy")
	b.awaitNamespace(t, "busy", false, "cell-2")
	b.awaitCondition(t, "busy", "waiting for cell-1 (is being emptied)")
	held.Finalizers = nil
	if _, err := maps.Update(t.Context(), held, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitSourceGone(t, "busy")
}

func TestARemovedCellIsNotWaitedFor(t *testing.T) {
	b := newBed(t)
	b.endsWhileAway(t, "removed")
	// Added again, what the cell has kept is named and left alone with what may be in it.
	b.relay.mend(t)
	b.setCells(t, "cell-1", "cell-2")
	await(t, "it to be named", func(context.Context) string {
		if log := b.log.String(); !strings.Contains(log, "namespaces removed") || !strings.Contains(log, replication.ErrForeign.Error()) {
			return log
		}
		return ""
	})
	b.awaitNamespace(t, "removed", true, "cell-2")
	if err := b.cells["cell-2"].kube.CoreV1().Namespaces().Delete(t.Context(), "removed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// endsWhileAway leaves cell-2, which nobody waits for, with the copy of a namespace that is none any more.
func (b *bed) endsWhileAway(t *testing.T, name string) {
	t.Helper()
	b.makeEverywhere(t, name)
	b.relay.cut()
	b.deleteSource(t, name)
	b.awaitCondition(t, name, "waiting for cell-2")
	b.setCells(t, "cell-1")
	b.awaitSourceGone(t, name)
}

// TestACopyOfAnotherHoldsNoSourceUp: it stays, with what is in it, and the source goes.
func TestACopyOfAnotherHoldsNoSourceUp(t *testing.T) {
	b := newBed(t)
	b.endsWhileAway(t, "lost-once")
	makeNamespace(t, b.rcp, "lost-once", nil)
	b.relay.mend(t)
	b.setCells(t, "cell-1", "cell-2")
	await(t, "it to be named", func(context.Context) string {
		if log := b.log.String(); !strings.Contains(log, "the router control plane has another object of that name") {
			return log
		}
		return ""
	})
	b.deleteSource(t, "lost-once")
	b.awaitSourceGone(t, "lost-once")
	b.awaitNamespace(t, "lost-once", true, "cell-2")
	if err := b.cells["cell-2"].kube.CoreV1().Namespaces().Delete(t.Context(), "lost-once", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

func TestTheSystemsNamespacesWaitForNobody(t *testing.T) {
	b := newBed(t)
	b.makeEverywhere(t, "not-the-systems")
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease", "not-the-systems"} {
		ns, err := b.rcp.kube.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(ns.Finalizers) > 0, name == "not-the-systems"; got != want {
			t.Errorf("%s has finalizers %v", name, ns.Finalizers)
		}
	}
}

func TestAQuotaIsDivided(t *testing.T) {
	b := newBed(t)
	b.rcp.makeOwnNamespace(t)
	b.makeEverywhere(t, "quota")
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}}
	quota.Spec.Hard = corev1.ResourceList{"pods": resource.MustParse("9"), "requests.cpu": resource.MustParse("1")}
	quotas := b.rcp.kube.CoreV1().ResourceQuotas("quota")
	if _, err := quotas.Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitPods(t, "cell-1", "5")
	b.awaitPods(t, "cell-2", "4")
	b.setCells(t, "cell-1")
	b.awaitPods(t, "cell-1", "9")
	b.setCells(t, "cell-1", "cell-2")
	b.awaitPods(t, "cell-1", "5")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "one"}}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{"cpu": resource.MustParse("300m")},
	}}}
	await(t, "pod in cell-2", func(ctx context.Context) string {
		if _, err := b.cells["cell-2"].kube.CoreV1().Pods("quota").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	await(t, "what the RCP shows", func(ctx context.Context) string {
		q, err := quotas.Get(ctx, "q", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		pods, cpu := q.Status.Used["pods"], q.Status.Used["requests.cpu"]
		if pods.String() != "1" || cpu.String() != "300m" {
			return fmt.Sprintf("%s pods, %s cpu", pods.String(), cpu.String())
		}
		return ""
	})
	whole := `{"metadata":{"annotations":{"` + v1alpha1.AnnotationQuota + `":"` + v1alpha1.QuotaWhole + `"}}}`
	if _, err := quotas.Patch(t.Context(), "q", types.MergePatchType, []byte(whole), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitPods(t, "cell-1", "9")
	b.awaitPods(t, "cell-2", "9")
}

func (b *bed) awaitPods(t *testing.T, cell, want string) {
	t.Helper()
	await(t, cell, func(ctx context.Context) string {
		got, err := b.cells[cell].kube.CoreV1().ResourceQuotas("quota").Get(ctx, "q", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if pods := got.Spec.Hard["pods"]; pods.String() != want {
			return fmt.Sprintf("admits %s pods; want %s", pods.String(), want)
		}
		return ""
	})
}

// relay passes connections on to a control plane until it is cut.
type relay struct {
	url, address, target string

	mu       sync.Mutex // guards what follows
	listener net.Listener
	open     map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{address: "127.0.0.1:0", target: strings.TrimPrefix(target, "https://")}
	r.mend(t)
	t.Cleanup(r.cut)
	return r
}

// mend listens again, at the same address as before.
func (r *relay) mend(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	r.url = "https://" + r.address
	r.mu.Lock()
	r.listener, r.open = listener, map[net.Conn]bool{}
	r.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // cut
			}
			go r.pass(conn)
		}
	}()
}

func (r *relay) pass(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer far.Close()
	r.mu.Lock()
	if r.open == nil {
		r.mu.Unlock()
		return
	}
	r.open[near] = true
	r.mu.Unlock()
	go func() { _, _ = io.Copy(near, far); near.Close() }()
	_, _ = io.Copy(far, near)
}

// cut ends all connections and refuses new ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	for conn := range r.open {
		conn.Close()
	}
	r.open = nil
}
