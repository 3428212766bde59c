package failover_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/routers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the RCP and three cells of all tests. Each test has gates and a router of its own: a cell dies when its
// gate shuts.
var planes = sandboxtest.NewPool(4)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// founded is done by the first test that needs the federation.
var founded sync.Once

const (
	patience = time.Minute
	lease    = 3 * time.Second
	// steadyLease is for a failback, which does not go on after it has lost its Lease.
	steadyLease = 15 * time.Second
	// namespacePrefix is that of the tests' namespaces.
	namespacePrefix = "ns-"
)

var cellNames = []string{"cell-1", "cell-2", "cell-3"}

// bed is a federation as a test sees it, with a namespace of its own.
type bed struct {
	t         testing.TB
	rcp       *rest.Config
	kube      kubernetes.Interface
	client    *client.Client
	cells     map[string]kubernetes.Interface // directly, not through the gates
	configs   map[string]*rest.Config
	gates     map[string]*sandboxtest.Gate
	router    kubernetes.Interface
	namespace string
	sealer    *envelope.Sealer
	stop      func() error // stops the router
	state     string       // of the router: one that is started with it has the same identity
}

func newBed(t testing.TB) *bed {
	t.Helper()
	configs := planes.Configs(t)
	for _, c := range configs {
		c.QPS, c.Burst = -1, -1
	}
	b := &bed{
		t: t, rcp: configs[0], kube: kubeOf(t, configs[0]), cells: map[string]kubernetes.Interface{},
		configs: map[string]*rest.Config{}, gates: map[string]*sandboxtest.Gate{},
	}
	var err error
	b.client, err = client.New(b.rcp)
	b.must(err)
	b.sealer, err = envelope.NewSealer()
	b.must(err)
	var founders []federation.NewCell
	for i, name := range cellNames {
		b.cells[name], b.configs[name] = kubeOf(t, configs[i+1]), configs[i+1]
		founders = append(founders, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, configs[i+1]), Weight: 100})
	}
	founded.Do(func() {
		_, err = federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: founders})
		b.must(err)
	})
	b.clear()
	b.throughGates()
	b.makeNamespace()
	for _, name := range cellNames {
		b.mark(name, b.ring().Status.Epoch, nil)
	}
	b.state = t.TempDir()
	b.router = kubeOf(t, b.startRouter())
	return b
}

func kubeOf(t testing.TB, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// clear makes the three cells the ring, and removes what an earlier test left.
func (b *bed) clear() {
	b.t.Helper()
	ctx := b.t.Context()
	for name, config := range b.configs {
		b.must(failover.Thaw(ctx, config))
		b.must(b.cells[name].CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell}))
		b.empty(config)
	}
	list, err := b.client.Failovers().List(ctx, metav1.ListOptions{})
	b.must(err)
	for _, run := range list.Items {
		b.must(b.client.Failovers().Delete(ctx, run.Name, metav1.DeleteOptions{}))
	}
	runs, err := b.client.Rebalances().List(ctx, metav1.ListOptions{})
	b.must(err)
	for _, run := range runs.Items {
		b.must(b.client.Rebalances().Delete(ctx, run.Name, metav1.DeleteOptions{}))
	}
	b.must(b.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks}))
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	b.must(leases.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent}))
	for _, name := range []string{v1alpha1.FailoverLease, v1alpha1.RebalanceLease, backup.LeaseName} {
		if err := leases.Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			b.must(err)
		}
	}
	b.reset(cellNames...)
}

// empty deletes what an earlier test left in a cell: a rebalance would move it, and tombstones tell of objects that have
// no copies any more.
func (b *bed) empty(config *rest.Config) {
	b.t.Helper()
	ctx := b.t.Context()
	mover, err := kubernetes.NewForConfig(fence.AsMover(config))
	b.must(err)
	left, err := mover.CoreV1().ConfigMaps(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	b.must(err)
	for _, cm := range left.Items {
		if !strings.HasPrefix(cm.Namespace, namespacePrefix) {
			continue
		}
		maps := mover.CoreV1().ConfigMaps(cm.Namespace)
		if len(cm.Finalizers) > 0 { // a freeze keeps the garbage collector from what waits for it
			if _, err := maps.Patch(ctx, cm.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); !apierrors.IsNotFound(err) {
				b.must(err)
			}
		}
		if err := maps.Delete(ctx, cm.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			b.must(err)
		}
	}
}

// reset makes cells the ring, without any data being moved.
func (b *bed) reset(cells ...string) {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		ring.Spec.Members = layout(cells...).Members
		ring, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		s := &ring.Status
		s.Current, s.Target, s.Phase, s.Rebalance = ring.Spec.RingLayout.DeepCopy(), nil, v1alpha1.RingStable, ""
		s.Unavailable, s.Promoting, s.Failover = nil, nil, ""
		s.Epoch++
		_, err = b.client.Rings().UpdateStatus(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
}

// acknowledged waits until the router goes by the ring as it is.
func (b *bed) acknowledged() {
	b.t.Helper()
	status := b.ring().Status
	b.await("the router to acknowledge the ring", func() bool {
		all, err := routers.List(b.t.Context(), b.kube)
		b.must(err)
		return len(all) > 0 && len(routers.Blocking(all, status.Epoch, status.Window)) == 0
	})
}

// throughGates has the federation reach the cells by way of gates.
func (b *bed) throughGates() {
	b.t.Helper()
	for _, name := range cellNames {
		b.gates[name] = sandboxtest.NewGate(b.t, b.configs[name].Host)
		gated := rest.CopyConfig(b.configs[name])
		gated.Host = b.gates[name].URL()
		cell, err := b.client.Cells().Get(b.t.Context(), name, metav1.GetOptions{})
		b.must(err)
		secrets := b.kube.CoreV1().Secrets(v1alpha1.Namespace)
		secret, err := secrets.Get(b.t.Context(), cell.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
		b.must(err)
		secret.Data = map[string][]byte{v1alpha1.KubeconfigKey: sandboxtest.Kubeconfig(b.t, gated)}
		_, err = secrets.Update(b.t.Context(), secret, metav1.UpdateOptions{})
		b.must(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// startRouter runs a router in this process until the test ends.
func (b *bed) startRouter() *rest.Config {
	b.t.Helper()
	running := routertest.Run(b.t, b.rcp, func(c *router.Config) { c.AdminListen, c.StateDir = "127.0.0.1:0", b.state })
	b.stop = running.Stop
	return running.Config
}

func (b *bed) ring() *v1alpha1.Ring {
	b.t.Helper()
	ring, err := b.client.Rings().Get(context.WithoutCancel(b.t.Context()), v1alpha1.RingName, metav1.GetOptions{})
	b.must(err)
	return ring
}

// makeNamespace makes one in every control plane, without waiting for it to be copied.
func (b *bed) makeNamespace() {
	b.t.Helper()
	b.namespace = namespacePrefix + strconv.FormatInt(time.Now().UnixNano(), 10)
	for _, kube := range []kubernetes.Interface{b.kube, b.cells["cell-1"], b.cells["cell-2"], b.cells["cell-3"]} {
		_, err := kube.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
}

func (b *bed) await(what string, condition func() bool) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), 10*time.Millisecond, patience, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		b.t.Fatalf("wait for %s: %v", what, err)
	}
}

// owner and backup are the cells of a config map by the current ring.
func (b *bed) owner(name string) (owner, backup string) {
	b.t.Helper()
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	p, ok := snap.Table.LookupKey(b.namespace + "/" + name)
	if !ok {
		b.t.Fatal("nothing is placed")
	}
	return p.Old(), p.OldBackup()
}

func (b *bed) maps() configMaps { return configMaps{b, b.router} }

// configMaps are those of the test's namespace through a client.
type configMaps struct {
	b    *bed
	kube kubernetes.Interface
}

func (m configMaps) create(name, value string) (*corev1.ConfigMap, error) {
	return m.kube.CoreV1().ConfigMaps(m.b.namespace).Create(m.b.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value},
	}, metav1.CreateOptions{})
}

func (m configMaps) get(name string) (*corev1.ConfigMap, error) {
	return m.kube.CoreV1().ConfigMaps(m.b.namespace).Get(m.b.t.Context(), name, metav1.GetOptions{})
}

func (m configMaps) set(name, value string) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		cm, err := m.get(name)
		if err != nil {
			return err
		}
		cm.Data = map[string]string{"value": value}
		_, err = m.kube.CoreV1().ConfigMaps(m.b.namespace).Update(m.b.t.Context(), cm, metav1.UpdateOptions{})
		return err
	})
}

// fill makes so many config maps of cell-1 through the router, and at least two of other cells.
func (b *bed) fill(n int) (ours, others []string) {
	b.t.Helper()
	for i := 0; len(ours) < n || len(others) < 2; i++ {
		name := fmt.Sprintf("x-%d", i)
		owner, _ := b.owner(name)
		if owner == "cell-1" && len(ours) == n {
			continue
		}
		_, err := b.maps().create(name, "1")
		b.must(err)
		if owner == "cell-1" {
			ours = append(ours, name)
		} else {
			others = append(others, name)
		}
	}
	return ours, others
}

// backUp makes the envelopes of config maps as they are now, as a backup daemon does.
func (b *bed) backUp(names ...string) {
	b.t.Helper()
	for _, name := range names {
		owner, backup := b.owner(name)
		b.seal(name, owner, backup)
	}
}

// seal puts the envelope of a cell's config map into another cell.
func (b *bed) seal(name, owner, backup string) {
	b.t.Helper()
	secret, secrets := b.sealed(name, owner, backup), b.cells[backup].CoreV1().Secrets(v1alpha1.Namespace)
	if err := secrets.Delete(b.t.Context(), secret.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		b.must(err)
	}
	_, err := secrets.Create(b.t.Context(), secret, metav1.CreateOptions{})
	b.must(err)
}

// sealed is the envelope of a cell's config map for another cell.
func (b *bed) sealed(name, owner, backup string) *corev1.Secret {
	b.t.Helper()
	raw, err := b.cells[owner].CoreV1().RESTClient().Get().Namespace(b.namespace).Resource("configmaps").Name(name).Do(b.t.Context()).Raw()
	b.must(err)
	var object map[string]any
	b.must(json.Unmarshal(raw, &object))
	object["apiVersion"], object["kind"] = "v1", "ConfigMap"
	raw, err = json.Marshal(object)
	b.must(err)
	secret, err := b.sealer.Seal(envelope.Source{
		Resource: "configmaps", Unit: b.namespace + "/" + name, Cell: owner, BackupCell: backup, Epoch: b.ring().Status.Epoch, Written: time.Now(),
	}, raw)
	b.must(err)
	return secret
}

// publish says how far the backup of a cell has come, as a backup daemon does: all of it, for an epoch, but what is named.
func (b *bed) publish(cell string, epoch int64, unprotected ...mirror.Unprotected) {
	b.t.Helper()
	there, err := b.cells[cell].CoreV1().ConfigMaps(b.namespace).List(b.t.Context(), metav1.ListOptions{})
	b.must(err)
	b.mark(cell, epoch, map[string]string{"configmaps": there.ResourceVersion}, unprotected...)
}

// mark says that the backup of a cell was complete for an epoch, and has everything of resources up to their versions.
func (b *bed) mark(cell string, epoch int64, resources map[string]string, unprotected ...mirror.Unprotected) {
	b.t.Helper()
	b.markAt(cell, time.Now(), nil, epoch, resources, unprotected...)
}

// markAt is a mark of a time, when changes of resources had waited since other ones.
func (b *bed) markAt(cell string, at time.Time, pending map[string]time.Time, epoch int64, resources map[string]string, unprotected ...mirror.Unprotected) {
	b.t.Helper()
	if pending == nil {
		pending = map[string]time.Time{}
	}
	plane := ""
	for _, slot := range b.ring().Status.Slots {
		if slot.Cell == cell {
			plane = slot.ControlPlane
		}
	}
	marks, err := json.Marshal(map[string]any{
		"cell": cell, "controlPlane": plane, "time": at, "epoch": epoch, "resources": resources, "pending": pending,
	})
	b.must(err)
	list, err := json.Marshal(unprotected)
	b.must(err)
	b.unmark(cell)
	published := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MarksPrefix + cell, Labels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentMarks}},
		Data:       map[string]string{v1alpha1.MarksKey: string(marks), v1alpha1.UnprotectedKey: string(list)},
	}
	_, err = b.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).Create(b.t.Context(), published, metav1.CreateOptions{})
	b.must(err)
}

// unmark takes back what was said of a cell.
func (b *bed) unmark(cell string) {
	b.t.Helper()
	err := b.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).Delete(b.t.Context(), v1alpha1.MarksPrefix+cell, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		b.must(err)
	}
}

// forgotten waits until the router remembers nothing of a cell.
func (b *bed) forgotten(cell string) {
	b.t.Helper()
	b.await("the router to forget what it knew of "+cell, func() bool {
		facts, err := failover.Read(b.t.Context(), b.rcp, cell)
		b.must(err)
		return len(facts.Witnesses) == 1 && facts.Witnesses[0].Err == nil && len(facts.Witnesses[0].Ledger.Entries) == 0
	})
}

// count says how many objects a cell has, as a backup daemon does.
func (b *bed) count(cell string, objects int64) {
	b.t.Helper()
	status, err := json.Marshal(map[string]any{"status": v1alpha1.CellStatus{Backup: &v1alpha1.CellBackup{Time: metav1.Now(), Complete: true, Objects: objects}}})
	b.must(err)
	_, err = b.client.Cells().Patch(b.t.Context(), cell, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	b.must(err)
	b.t.Cleanup(func() {
		_, err := b.client.Cells().Patch(context.Background(), cell, types.MergePatchType, []byte(`{"status":{"backup":null}}`), metav1.PatchOptions{}, "status")
		b.must(err)
	})
}

// envelopes counts those of a cell's objects in all cells.
func (b *bed) envelopes(source string) int {
	b.t.Helper()
	n := 0
	for _, kube := range b.cells {
		list, err := kube.CoreV1().Secrets(v1alpha1.Namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + source})
		b.must(err)
		n += len(list.Items)
	}
	return n
}

// dies shuts a cell's gate, and waits until the router has noticed.
func (b *bed) dies(cell string) {
	b.t.Helper()
	b.gates[cell].Vanish()
	b.givenUp(cell)
}

// givenUp waits until the router has noticed that a cell does not answer.
func (b *bed) givenUp(cell string) {
	b.t.Helper()
	b.await("the router to give "+cell+" up", func() bool {
		facts, err := failover.Read(b.t.Context(), b.rcp, cell)
		b.must(err)
		return len(facts.Witnesses) == 1 && facts.Witnesses[0].Err == nil && !facts.Witnesses[0].View.Reachable
	})
}

// order wants a run to be accepted.
func (b *bed) order(spec v1alpha1.FailoverSpec) *v1alpha1.Failover {
	b.t.Helper()
	if spec.ConfirmEpoch == 0 {
		spec.ConfirmEpoch = b.ring().Status.Epoch
	}
	started, err := failover.Start(b.t.Context(), b.rcp, spec, false)
	b.must(err)
	b.must(started.Refused)
	return started.Run
}

// driver is one whose connections end with kill, as the end of its process would end them.
func (b *bed) driver() (d *failover.Driver, ctx context.Context, kill context.CancelFunc) {
	ctx, kill = context.WithCancel(context.Background())
	b.t.Cleanup(kill)
	cut := sandboxtest.Lifeline(ctx)
	config := rest.CopyConfig(b.rcp)
	config.Wrap(cut)
	return &failover.Driver{
		RCP: config, Identity: fmt.Sprint("it-", time.Now().UnixNano()), LeaseDuration: lease, CatchUp: time.Second, Logger: quiet(),
		WrapCell: func(_ string, config *rest.Config) { config.Wrap(cut) },
	}, ctx, kill
}

// killedAt has whoever works by run die after a step: nothing that it writes to the RCP afterwards arrives there.
func (b *bed) killedAt(step failover.StepName, run func(ctx context.Context, rcp *rest.Config, took func(failover.StepName)) error) {
	b.t.Helper()
	ctx, kill := context.WithTimeout(b.t.Context(), patience)
	defer kill()
	rcp := rest.CopyConfig(b.rcp)
	rcp.Wrap(sandboxtest.Lifeline(ctx))
	err := run(ctx, rcp, func(s failover.StepName) {
		if s == step {
			kill()
		}
	})
	if err == nil {
		b.t.Fatalf("it was not killed at %s", step)
	}
}

// unheld deletes the Lease of one who was killed.
func (b *bed) unheld() {
	b.t.Helper()
	err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(b.t.Context(), v1alpha1.FailoverLease, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		b.must(err)
	}
}

// carryOut drives a run to its end.
func (b *bed) carryOut(name string, want v1alpha1.FailoverPhase) *v1alpha1.Failover {
	b.t.Helper()
	d, ctx, _ := b.driver()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	run, err := d.Run(ctx, name)
	if err != nil {
		b.t.Fatalf("failover %s: %v; the ring is %+v", name, err, b.ring().Status)
	}
	if run.Status.Phase != want {
		b.t.Fatalf("failover %s ended %s, want %s: %+v", name, run.Status.Phase, want, run.Status)
	}
	return run
}

// usable wants objects to be there with a value, to be writable, and the ring to be at rest without the cell.
func (b *bed) usable(cell, value string, names ...string) {
	b.t.Helper()
	for _, name := range names {
		cm, err := b.maps().get(name)
		if err != nil {
			b.t.Errorf("%s: %v", name, err)
			continue
		}
		if cm.Data["value"] != value {
			b.t.Errorf("%s is %q, want %q", name, cm.Data["value"], value)
		}
		if err := b.maps().set(name, value+"!"); err != nil {
			b.t.Errorf("write %s: %v", name, err)
		}
	}
	s := b.ring().Status
	if s.Failover != "" || len(s.Promoting) > 0 || len(s.Unavailable) == 0 || s.Phase != v1alpha1.RingStable {
		b.t.Errorf("the ring is not at rest: %+v", s)
	}
	for _, l := range []*v1alpha1.RingLayout{s.Current, &b.ring().Spec.RingLayout} {
		for _, m := range l.Members {
			if m.Cell == cell {
				b.t.Errorf("%s is still in the ring", cell)
			}
		}
	}
}

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

func conditionTrue(cell *v1alpha1.Cell, kind string) bool {
	for _, c := range cell.Status.Conditions {
		if c.Type == kind {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}
