package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// planes are the RCP and three cells of all tests.
var planes = sandboxtest.NewPool(4)

// through is a router in this process.
var through = &routertest.Shared{}

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, through, planes)) }

const (
	patience = time.Minute
	// lag is what a test waits for between two looks.
	lag = 50 * time.Millisecond
	// steadyLease is for what does not go on after it has lost its Lease, and gives it up itself.
	steadyLease = 15 * time.Second
)

var cellNames = []string{"cell-1", "cell-2", "cell-3"}

// bed is the federation as a test sees it, with a namespace of its own. Pod templates are Dependent.
type bed struct {
	t         testing.TB
	rcp       *rest.Config
	kube      kubernetes.Interface
	client    *client.Client
	configs   map[string]*rest.Config
	cells     map[string]kubernetes.Interface // as the mover
	router    *rest.Config
	namespace string
	snap      *routing.Snapshot
	// everywhere has all namespaces verified.
	everywhere bool
}

func newBed(t testing.TB) *bed {
	t.Helper()
	configs := planes.Configs(t)
	for _, c := range configs {
		c.QPS, c.Burst = -1, -1
	}
	b := &bed{t: t, rcp: configs[0], kube: kubeOf(t, configs[0]), cells: map[string]kubernetes.Interface{}, configs: map[string]*rest.Config{}}
	var founders []federation.NewCell
	for i, name := range cellNames {
		b.configs[name] = configs[i+1]
		b.cells[name] = kubeOf(t, fence.AsMover(configs[i+1]))
		founders = append(founders, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, configs[i+1]), Weight: 100})
	}
	b.router = through.Config(t, b.rcp, founders)
	var err error
	b.client, err = client.New(b.rcp)
	b.must(err)
	b.reset()
	b.backupOnce()
	b.makeNamespace()
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

// reset makes the three cells the ring, at rest.
func (b *bed) reset() {
	b.t.Helper()
	runs, err := b.client.Rebalances().List(b.t.Context(), metav1.ListOptions{})
	b.must(err)
	for _, run := range runs.Items {
		b.must(b.client.Rebalances().Delete(b.t.Context(), run.Name, metav1.DeleteOptions{}))
	}
	b.setRing(func(*v1alpha1.RingStatus) {})
}

// setRing makes the three cells the ring, but for a change of its status.
func (b *bed) setRing(change func(*v1alpha1.RingStatus)) {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		ring.Spec.Members = nil
		for _, name := range cellNames {
			ring.Spec.Members = append(ring.Spec.Members, v1alpha1.RingMember{Cell: name, Weight: 100})
		}
		ring.Spec.Resources = []v1alpha1.ResourceRule{{Resource: "podtemplates", Class: "Dependent"}}
		ring, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		s := &ring.Status
		s.Current, s.Target, s.Phase, s.Rebalance = ring.Spec.RingLayout.DeepCopy(), nil, v1alpha1.RingStable, ""
		s.Unavailable, s.Promoting, s.Failover = nil, nil, ""
		s.Epoch++
		change(s)
		_, err = b.client.Rings().UpdateStatus(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
	var err error
	b.snap, err = routing.FromRing(b.ring())
	b.must(err)
}

// backupOnce says that a daemon has worked once.
func (b *bed) backupOnce() {
	b.t.Helper()
	_, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Create(b.t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: backup.LeaseName},
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		b.must(err)
	}
}

// neverBackedUp has a test without envelopes.
func (b *bed) neverBackedUp() {
	b.t.Helper()
	b.must(b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(b.t.Context(), backup.LeaseName, metav1.DeleteOptions{}))
}

func (b *bed) ring() *v1alpha1.Ring {
	b.t.Helper()
	ring, err := b.client.Rings().Get(context.WithoutCancel(b.t.Context()), v1alpha1.RingName, metav1.GetOptions{})
	b.must(err)
	return ring
}

// makeNamespace makes one in every control plane. What the test leaves is deleted, so that later ones do not meet it.
func (b *bed) makeNamespace() {
	b.t.Helper()
	b.namespace = fmt.Sprintf("ns-%d", time.Now().UnixNano())
	for _, kube := range []kubernetes.Interface{b.kube, b.cells["cell-1"], b.cells["cell-2"], b.cells["cell-3"]} {
		_, err := kube.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
	b.t.Cleanup(func() {
		for _, kube := range b.cells {
			ctx := context.Background()
			for _, err := range []error{
				kube.CoreV1().ConfigMaps(b.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
				kube.CoreV1().PodTemplates(b.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
				kube.CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell}),
			} {
				if err != nil {
					b.t.Error(err)
				}
			}
		}
	})
}

// at is the first config map with that prefix that a cell owns, with its backup cell and a third one.
func (b *bed) at(cell, prefix string) (name, backup, other string) {
	b.t.Helper()
	for i := 0; ; i++ {
		name = fmt.Sprintf("%s-%d", prefix, i)
		p, ok := b.snap.Table.LookupKey(b.namespace + "/" + name)
		if !ok {
			b.t.Fatal("nothing is placed")
		}
		if p.Old() != cell {
			continue
		}
		for _, c := range cellNames {
			if c != cell && c != p.OldBackup() {
				return name, p.OldBackup(), c
			}
		}
	}
}

func (b *bed) configMaps(cell string) typedcorev1.ConfigMapInterface {
	return b.cells[cell].CoreV1().ConfigMaps(b.namespace)
}

// create makes a config map in a cell, past the router.
func (b *bed) create(cell, name, value string, change ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	b.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value}}
	for _, c := range change {
		c(cm)
	}
	made, err := b.configMaps(cell).Create(b.t.Context(), cm, metav1.CreateOptions{})
	b.must(err)
	return made
}

func (b *bed) get(cell, name string) (*corev1.ConfigMap, error) {
	return b.configMaps(cell).Get(b.t.Context(), name, metav1.GetOptions{})
}

// marked gives an object marks of a move.
func marked(status v1alpha1.RebalanceStatus, annotations map[string]string) func(*corev1.ConfigMap) {
	return func(cm *corev1.ConfigMap) {
		cm.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
		cm.Annotations = annotations
	}
}

// seal puts the envelope of a config map into a cell, as the backup would.
func (b *bed) seal(of *corev1.ConfigMap, source, home string) *corev1.Secret {
	b.t.Helper()
	sealer, err := envelope.NewSealer()
	b.must(err)
	secret, err := b.sealWith(sealer, of, source, home)
	b.must(err)
	return secret
}

func (b *bed) sealWith(sealer *envelope.Sealer, of *corev1.ConfigMap, source, home string) (*corev1.Secret, error) {
	of = of.DeepCopy()
	of.APIVersion, of.Kind = "v1", "ConfigMap"
	body, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	secret, err := sealer.Seal(envelope.Source{
		Resource: "configmaps", Unit: b.namespace + "/" + of.Name, Cell: source, BackupCell: home, Epoch: b.snap.Epoch, Written: time.Now(),
	}, body)
	if err != nil {
		return nil, err
	}
	return b.cells[home].CoreV1().Secrets(v1alpha1.Namespace).Create(b.t.Context(), secret, metav1.CreateOptions{})
}

// spoil changes the envelope of a config map by hand.
func (b *bed) spoil(name, cell string, change func(*corev1.Secret)) *corev1.Secret {
	b.t.Helper()
	secrets := b.cells[cell].CoreV1().Secrets(v1alpha1.Namespace)
	secret, err := secrets.Get(b.t.Context(), envelope.Name("", "configmaps", b.namespace, name), metav1.GetOptions{})
	b.must(err)
	change(secret)
	secret, err = secrets.Update(b.t.Context(), secret, metav1.UpdateOptions{})
	b.must(err)
	return secret
}

// cutOff begins to move a config map, and is killed after a step.
func (b *bed) cutOff(name, from, to string, last migration.StepName) {
	b.t.Helper()
	cells := map[string]*migration.Cell{}
	for cell, config := range b.configs {
		var err error
		cells[cell], err = migration.Connect(cell, fence.AsMover(config))
		b.must(err)
	}
	ctx, kill := context.WithCancel(b.t.Context())
	mover := &migration.Mover{Cells: cells, Rebalance: "killed", Epoch: b.snap.Epoch, Clock: clock.RealClock{}, Step: func(s migration.Step) {
		if s.Name == last {
			kill()
		}
	}}
	resource, _ := cells[from].Preferred(schema.GroupResource{Resource: "configmaps"})
	object := migration.Object{Resource: resource, Namespace: b.namespace, Name: name}
	meta, err := cells[from].Look(ctx, object)
	b.must(err)
	unit, err := migration.Gather(ctx, cells[from], b.snap, b.namespace+"/"+name, to, migration.ObjectOf(resource, meta))
	b.must(err)
	if result := mover.Move(ctx, unit); !result.Begun {
		b.t.Fatalf("the move was not cut off: %+v", result)
	}
}

// wantAt wants a config map in a cell, and nowhere else without marks.
func (b *bed) wantAt(cell, name, value string) {
	b.t.Helper()
	for _, in := range cellNames {
		cm, err := b.configMaps(in).Get(context.Background(), name, metav1.GetOptions{})
		counts := err == nil && cm.Labels[v1alpha1.LabelRebalanceStatus] == ""
		if counts != (in == cell) || counts && cm.Data["value"] != value {
			b.t.Errorf("cell %s has %v, %v; want %s=%s in %s alone", in, cm, err, name, value, cell)
		}
	}
}

// protected makes a config map where it belongs, with its envelope.
func (b *bed) protected(cell, prefix string) (cm *corev1.ConfigMap, backup, other string) {
	b.t.Helper()
	name, backup, other := b.at(cell, prefix)
	cm = b.create(cell, name, "1")
	b.seal(cm, cell, backup)
	return cm, backup, other
}

func (b *bed) options() verify.Options {
	o := verify.Options{RCP: b.rcp, Namespace: b.namespace, Lag: lag}
	if b.everywhere {
		o.Namespace = ""
	}
	return o
}

func (b *bed) run() *verify.Result {
	b.t.Helper()
	r, err := verify.Run(b.t.Context(), b.options())
	b.must(err)
	return r
}

func (b *bed) repair() *verify.Result {
	b.t.Helper()
	r, err := verify.Repair(b.t.Context(), verify.RepairOptions{Options: b.options(), Identity: b.t.Name(), LeaseDuration: steadyLease})
	b.must(err)
	return r
}

// clean wants a run without findings that has compared everything.
func (b *bed) clean() {
	b.t.Helper()
	if r := b.run(); len(r.Findings) > 0 || r.Unread() || r.Uncompared {
		b.t.Errorf("findings %s, cells %+v, warnings %q; want none", describe(r.Findings), r.Cells, r.Warnings)
	}
}

func describe(findings []verify.Finding) string {
	raw, err := json.MarshalIndent(findings, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func (b *bed) await(what string, condition func() bool) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), 20*time.Millisecond, patience, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		b.t.Fatalf("wait for %s: %v", what, err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
