package replication_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// quotaBed is an RCP with two cells of the same weight and a namespace in each.
type quotaBed struct {
	rcp       side
	cells     map[string]side
	namespace string
	quotas    replication.Quotas
	// away are cells that do not answer.
	away map[string]bool
}

func newQuotaBed(t *testing.T, namespace string) *quotaBed {
	t.Helper()
	configs := planes.Configs(t)
	b := &quotaBed{
		rcp: newSide(t, configs[0]), namespace: namespace, away: map[string]bool{},
		cells: map[string]side{"cell-1": newSide(t, configs[1]), "cell-2": newSide(t, configs[2])},
	}
	for _, s := range []side{b.rcp, b.cells["cell-1"], b.cells["cell-2"]} {
		makeNamespace(t, s, namespace, nil)
	}
	b.rcp.makeOwnNamespace(t)
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 1, Current: &v1alpha1.RingLayout{
		PointsPerWeight: 10, Members: []v1alpha1.RingMember{{Cell: "cell-1", Weight: 100}, {Cell: "cell-2", Weight: 100}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b.quotas = replication.Quotas{RCP: b.rcp.dyn, Snapshot: snap, Client: func(cell string) (dynamic.Interface, error) {
		if b.away[cell] {
			return nil, errors.New("it is away")
		}
		return b.cells[cell].dyn, nil
	}}
	return b
}

// makeOwnNamespace makes the one in which records are kept.
func (s side) makeOwnNamespace(t *testing.T) {
	t.Helper()
	own := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.Namespace}}
	if _, err := s.kube.CoreV1().Namespaces().Create(t.Context(), own, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (b *quotaBed) object(name string) replication.Object {
	return replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: b.namespace, Name: name}
}

// limit makes a quota of secrets in the RCP, or changes it, and has it divided.
func (b *quotaBed) limit(t *testing.T, name, secrets string) {
	t.Helper()
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.namespace},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceSecrets: resource.MustParse(secrets)}},
	}
	quotas := b.rcp.kube.CoreV1().ResourceQuotas(b.namespace)
	_, err := quotas.Create(t.Context(), q, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = quotas.Update(t.Context(), q, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	b.settle(t, name, nil)
}

func (b *quotaBed) settle(t *testing.T, name string, need *quota.Need) replication.Settled {
	t.Helper()
	settled, err := b.quotas.Settle(t.Context(), b.object(name), need)
	if err != nil {
		t.Fatal(err)
	}
	for cell, err := range settled.Failures {
		if !b.away[cell] {
			t.Fatalf("%s: %v", cell, err)
		}
	}
	return settled
}

// parts are what the cells enforce.
func (b *quotaBed) parts(t *testing.T, name string) string {
	t.Helper()
	var out []string
	for _, cell := range []string{"cell-1", "cell-2"} {
		q, err := b.cells[cell].kube.CoreV1().ResourceQuotas(b.namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hard := q.Status.Hard[corev1.ResourceSecrets]
		out = append(out, hard.String())
	}
	return strings.Join(out, " ")
}

func (b *quotaBed) secret(ctx context.Context, cell, name string) error {
	_, err := b.cells[cell].kube.CoreV1().Secrets(b.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	return err
}

// makeSecret makes one, once the apiserver has seen that it may.
func (b *quotaBed) makeSecret(t *testing.T, cell, name string) {
	t.Helper()
	await(t, "secret in "+cell, func(ctx context.Context) string {
		if err := b.secret(ctx, cell, name); err != nil {
			return err.Error()
		}
		return ""
	})
}

func secrets(n int64) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceSecrets: *resource.NewQuantity(n, resource.DecimalSI)}
}

func TestAQuotaFollowsUse(t *testing.T) {
	b := newQuotaBed(t, "quota-follows")
	b.limit(t, "q", "4")
	await(t, "the first parts", func(context.Context) string {
		if got := b.parts(t, "q"); got != "2 2" {
			return got
		}
		return ""
	})
	for i := range 3 {
		need := &quota.Need{Cell: "cell-2", Requested: secrets(1)}
		if settled := b.settle(t, "q", need); settled.Granted[corev1.ResourceSecrets] == (resource.Quantity{}) {
			t.Error("nothing is granted")
		}
		b.makeSecret(t, "cell-2", fmt.Sprint("s", i))
	}
	need := &quota.Need{Cell: "cell-2", Requested: secrets(1)}
	b.settle(t, "q", need)
	if got := b.parts(t, "q"); got != "0 4" {
		t.Errorf("the parts are %s; the last one belongs where it is needed", got)
	}
	b.makeSecret(t, "cell-2", "last")
	settled, err := b.quotas.Settle(t.Context(), b.object("q"), need)
	if !errors.Is(err, replication.ErrFull) || !settled.Complete {
		t.Errorf("settled %v, %v; want that it is full", settled, err)
	}
	if err := b.quotas.Tell(t.Context(), b.object("q"), settled.Used); err != nil {
		t.Fatal(err)
	}
	source, err := b.rcp.kube.CoreV1().ResourceQuotas(b.namespace).Get(t.Context(), "q", metav1.GetOptions{})
	if used := source.Status.Used[corev1.ResourceSecrets]; err != nil || used.Value() != 4 {
		t.Errorf("the RCP shows %s used, %v; want 4", used.String(), err)
	}
	if err := b.secret(t.Context(), "cell-1", "one-more"); !apierrors.IsForbidden(err) {
		t.Errorf("one more in cell-1: %v; want it refused", err)
	}

	// A larger whole is there at once, a smaller one keeps everybody from making more.
	b.limit(t, "q", "6")
	if got := b.parts(t, "q"); got != "1 5" {
		t.Errorf("the parts of 6 are %s", got)
	}
	b.limit(t, "q", "3")
	if got := b.parts(t, "q"); got != "0 3" {
		t.Errorf("the parts of 3 are %s", got)
	}
	// What is gone goes everywhere, the record too.
	if err := b.rcp.kube.CoreV1().ResourceQuotas(b.namespace).Delete(t.Context(), "q", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.settle(t, "q", nil)
	for cell, s := range b.cells {
		if _, err := s.kube.CoreV1().ResourceQuotas(b.namespace).Get(t.Context(), "q", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s still has its part: %v", cell, err)
		}
	}
	records, err := b.rcp.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=quota"})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records.Items {
		if record.Data["quota"] == b.namespace+"/q" {
			t.Error("the record is left")
		}
	}
}

// TestASilentCellKeepsItsPart of a quota, and what is left of it is nobody's until it answers.
func TestASilentCellKeepsItsPart(t *testing.T) {
	b := newQuotaBed(t, "quota-silent")
	b.limit(t, "q", "4")
	b.away["cell-1"] = true
	need := &quota.Need{Cell: "cell-2", Requested: secrets(3)}
	if _, err := b.quotas.Settle(t.Context(), b.object("q"), need); !errors.Is(err, replication.ErrFull) {
		t.Errorf("with cell-1 away: %v; want that there is no room", err)
	}
	b.away["cell-1"] = false
	b.settle(t, "q", need)
	if got := b.parts(t, "q"); got != "0 4" && got != "1 3" {
		t.Errorf("the parts are %s", got)
	}
}

// TestManyDivideAQuotaAtOnce, as routers do that are refused in different cells: together the cells never enforce
// more than the whole, and everything that there is can be used.
func TestManyDivideAQuotaAtOnce(t *testing.T) {
	b := newQuotaBed(t, "quota-many")
	const whole = 8
	b.limit(t, "q", fmt.Sprint(whole))
	// Before a cell has counted, it refuses nothing.
	await(t, "both cells to enforce their parts", func(context.Context) string {
		if got := b.parts(t, "q"); got != "4 4" {
			return "the parts are " + got
		}
		return ""
	})
	var working sync.WaitGroup
	var mu sync.Mutex // guards made
	made := 0
	for worker := range 4 {
		cell := fmt.Sprintf("cell-%d", 1+worker%2)
		working.Go(func() {
			for i, refused := 0, 0; refused < 30; {
				err := b.secret(t.Context(), cell, fmt.Sprintf("s-%d-%d", worker, i))
				if err == nil {
					i++
					mu.Lock()
					made++
					mu.Unlock()
					continue
				}
				refused++
				_, err = b.quotas.Settle(t.Context(), b.object("q"), &quota.Need{Cell: cell, Requested: secrets(1)})
				if err != nil && !errors.Is(err, replication.ErrFull) {
					t.Errorf("%s: %v", cell, err)
				}
			}
		})
	}
	working.Wait()
	if made != whole {
		t.Errorf("%d were made of %d", made, whole)
	}
}
