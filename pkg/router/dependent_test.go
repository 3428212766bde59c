package router_test

import (
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// layDependent puts a Dependent object into a cell, in a state of a move; "" is that of one that does not move.
func (b *bed) layDependent(t *testing.T, cell, ns, name string, status v1alpha1.RebalanceStatus) {
	t.Helper()
	labels := map[string]string{"app": name}
	object := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"in": cell}},
		Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: deployment(name).Spec.Template.Spec,
		}},
	}
	if status != "" {
		object.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
	}
	_, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ReplicationControllers(ns).Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// TestADependentIsFoundBehindItsTombstone, however late its cell says that it has it.
func TestADependentIsFoundBehindItsTombstone(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "dependents")
	router := kube(t, impatient(b.router)).CoreV1()
	dependents := router.ReplicationControllers(ns)
	b.layDependent(t, "cell-1", ns, "moved", v1alpha1.Migrated)
	b.layDependent(t, "cell-2", ns, "moved", "")
	b.layDependent(t, "cell-1", ns, "deleted", v1alpha1.Migrated)
	b.layDependent(t, "cell-1", ns, "moves", v1alpha1.Migrating)
	b.lay(t, "cell-1", ns, "x", "plain")
	b.lay(t, "cell-2", ns, "y", "plain")

	slow := b.gate(t, "cell-2", router.ConfigMaps(ns), "y")
	slow.Slow(300 * time.Millisecond) // longer than a cell is waited for once another has the object
	if o, err := dependents.Get(t.Context(), "moved", metav1.GetOptions{}); err != nil || o.Annotations["in"] != "cell-2" {
		t.Errorf("in a slow cell: %v, error %v; want that of cell-2", o.Annotations, err)
	}
	slow.Slow(0)
	if _, err := dependents.Get(t.Context(), "deleted", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("one of which there is but a tombstone: %v; want not found", err)
	}

	late := b.gate(t, "cell-1", router.ConfigMaps(ns), "x")
	late.Hang()
	got := make(chan error, 1)
	go func() {
		_, err := dependents.Get(t.Context(), "moves", metav1.GetOptions{})
		got <- err
	}()
	tombstone := []byte(`{"metadata":{"labels":{"` + v1alpha1.LabelRebalanceStatus + `":"migrated"}}}`)
	_, err := kube(t, fence.AsMover(b.cells["cell-1"])).CoreV1().ReplicationControllers(ns).Patch(t.Context(), "moves", types.MergePatchType, tombstone, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.layDependent(t, "cell-2", ns, "moves", "")
	late.Pass()
	if err := <-got; err != nil {
		t.Errorf("one that moves between the answers of two cells: %v", err)
	}
}

// unfenced is one whom no fence keeps from anything, as in an old cell: the mover.
func unfenced(config *rest.Config) *rest.Config {
	mover := fence.AsMover(config)
	mover.Impersonate.Groups = append(mover.Impersonate.Groups, user.SystemPrivilegedGroup)
	return mover
}

// TestNobodyWritesADependentThatMoves, also where no fence keeps him from it: it keeps nobody from a Scale, nor the mover
// from anything.
func TestNobodyWritesADependentThatMoves(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "dependents-busy")
	b.layDependent(t, "cell-1", ns, "x", v1alpha1.Migrating)
	config := rest.CopyConfig(impatient(b.router))
	admins := kube(t, config).CoreV1().ReplicationControllers(ns)
	movers := kube(t, unfenced(config)).CoreV1().ReplicationControllers(ns)
	config.Impersonate.UserName = "nobody"
	nobodys := kube(t, config).CoreV1().ReplicationControllers(ns)
	there := kube(t, b.cells["cell-1"]).CoreV1().ReplicationControllers(ns)
	before, err := there.Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 9}}
	if _, err := admins.UpdateScale(t.Context(), "x", scale, metav1.UpdateOptions{}); !apierrors.IsTooManyRequests(err) {
		t.Errorf("update of its scale: %v; want 429", err)
	}
	if _, err := nobodys.UpdateScale(t.Context(), "x", scale, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("update of its scale without any rights: %v; want forbidden", err)
	}
	if err := movers.Delete(t.Context(), "x", metav1.DeleteOptions{}); !apierrors.IsTooManyRequests(err) {
		t.Errorf("delete: %v; want 429", err)
	}
	if _, err := admins.GetScale(t.Context(), "x", metav1.GetOptions{}); err != nil {
		t.Errorf("its scale: %v", err)
	}
	after, err := there.Get(t.Context(), "x", metav1.GetOptions{})
	if err != nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("it has changed, error %v: %v", err, after.ManagedFields)
	}
}
