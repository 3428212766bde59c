package failover_test

import (
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestCopiesThatTheRingLeftBehind: it had changed a moment before the cell died, and they were about to go. They do once their
// objects are in place, or there could be no copies of these; what may be all that is left of an object stays.
func TestCopiesThatTheRingLeftBehind(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(3)
	brought, lost, moved, made := ours[0], ours[1], others[0], others[1]
	b.backUp(brought, ours[2])
	third := func(name string) string { // which has no say about it once cell-1 is gone
		owner, backup := b.owner(name)
		for _, cell := range cellNames[1:] {
			if cell != owner && (owner != "cell-1" || cell != backup) {
				return cell
			}
		}
		panic("there are two others")
	}
	left := map[string]string{}
	for _, name := range []string{brought, lost, moved, made} {
		owner, _ := b.owner(name)
		secret := b.sealed(name, owner, third(name))
		// As long as the object was in cell-1 it was the source.
		secret.Labels[v1alpha1.LabelSourceCell] = "cell-1"
		_, err := b.cells[third(name)].CoreV1().Secrets(v1alpha1.Namespace).Create(t.Context(), secret, metav1.CreateOptions{})
		b.must(err)
		left[name] = secret.Name
	}
	owner, _ := b.owner(moved)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.AnnotationPlacementEpoch, b.ring().Status.Epoch)
	mover := kubeOf(t, fence.AsMover(b.configs[owner])).CoreV1().ConfigMaps(b.namespace)
	_, err := mover.Patch(t.Context(), moved, types.MergePatchType, patch, metav1.PatchOptions{})
	b.must(err)
	where := map[string]string{}
	for name := range left {
		where[name] = third(name)
	}
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 3}).Name, v1alpha1.FailoverSucceeded)
	for name, secret := range left {
		_, err := b.cells[where[name]].CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), secret, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			b.must(err)
		}
		if stays, want := err == nil, name == lost || name == made; stays != want {
			t.Errorf("%s (brought back %s, lost %s, moved %s, made %s): its copy is still there: %t", name, brought, lost, moved, made, stays)
		}
	}
	b.usable("cell-1", "1", brought, ours[2], moved, made)
}
