package failover_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// backedUpIn makes so many config maps of cell-1 through the router whose copies are in a cell.
func (b *bed) backedUpIn(cell string, n int) (names []string) {
	b.t.Helper()
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("y-%d", i)
		if owner, backup := b.owner(name); owner != "cell-1" || backup != cell {
			continue
		}
		_, err := b.maps().create(name, "1")
		b.must(err)
		names = append(names, name)
	}
	b.backUp(names...)
	return names
}

// mended fails cell-1 over. When an object is kept for the first time, mend is called.
func (b *bed) mended(mend func()) *v1alpha1.Failover {
	b.t.Helper()
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	d, ctx, _ := b.driver()
	d.CatchUp = 15 * time.Second
	kept, mend := false, sync.OnceFunc(mend)
	d.Tell = func(f *v1alpha1.Failover) {
		if f.Status.KeptObjects > 0 && !f.Status.Phase.Final() {
			kept = true
			mend()
		}
	}
	ended, err := d.Run(ctx, run.Name)
	b.must(err)
	if !kept {
		b.t.Error("nothing was refused")
	}
	if ended.Status.Phase != v1alpha1.FailoverSucceeded || ended.Status.KeptObjects != 0 || len(ended.Status.Kept) > 0 {
		b.t.Errorf("it ended %s, and kept %+v", ended.Status.Phase, ended.Status.Kept)
	}
	return ended
}

// TestASurvivorLearnsWhatItLacks: it was away when a namespace was made, which is copied to it while copies are promoted. Nobody
// would bring back later what the run has kept.
func TestASurvivorLearnsWhatItLacks(t *testing.T) {
	b := newBed(t)
	b.namespace = namespacePrefix + strconv.FormatInt(time.Now().UnixNano(), 10)
	makeIn := func(kube kubernetes.Interface) {
		_, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
	for _, kube := range []kubernetes.Interface{b.kube, b.cells["cell-1"], b.cells["cell-3"]} {
		makeIn(kube)
	}
	names := b.backedUpIn("cell-2", 2)
	b.mended(func() { makeIn(b.cells["cell-2"]) })
	b.usable("cell-1", "1", names...)
}

// TestARefusalIsLookedAtTwice: a cell refuses what it allows a moment later, as one does that has not read its RBAC yet.
func TestARefusalIsLookedAtTwice(t *testing.T) {
	b := newBed(t)
	names := b.backedUpIn("cell-2", 2)
	mover := kubeOf(t, fence.AsMover(b.configs["cell-2"]))
	may := func() error {
		_, err := mover.CoreV1().ConfigMaps(b.namespace).Create(context.WithoutCancel(t.Context()), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	verbs := func(verbs ...string) {
		roles := b.cells["cell-2"].RbacV1().ClusterRoles()
		b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			role, err := roles.Get(context.WithoutCancel(t.Context()), fence.RoleMover, metav1.GetOptions{})
			if err != nil {
				return err
			}
			role.Rules[0].Verbs = verbs
			_, err = roles.Update(context.WithoutCancel(t.Context()), role, metav1.UpdateOptions{})
			return err
		}))
	}
	allow := sync.OnceFunc(func() { verbs(rbacv1.VerbAll) })
	t.Cleanup(allow)
	verbs("get", "list", "watch", "update", "patch", "delete")
	b.await("the mover to be refused", func() bool { return apierrors.IsForbidden(may()) })
	b.mended(func() {
		allow()
		b.await("the mover to be allowed", func() bool { return may() == nil })
	})
	b.usable("cell-1", "1", names...)
}

// TestWhatIsRefusedForGoodIsKept, and named, after a second look.
func TestWhatIsRefusedForGoodIsKept(t *testing.T) {
	b := newBed(t)
	names := b.backedUpIn("cell-2", 2)
	b.must(b.cells["cell-2"].CoreV1().Namespaces().Delete(t.Context(), b.namespace, metav1.DeleteOptions{}))
	b.await("the namespace to take nothing new", func() bool {
		_, err := (configMaps{b, b.cells["cell-2"]}).create("probe", "1")
		return apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
	})
	b.dies("cell-1")
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	var kept []string
	for _, k := range run.Status.Kept {
		kept = append(kept, k.Object)
	}
	var want []string
	for _, name := range names {
		want = append(want, failover.Key("", "configmaps", b.namespace, name))
	}
	slices.Sort(want)
	if slices.Sort(kept); !slices.Equal(kept, want) {
		t.Errorf("kept %v; want %v", kept, want)
	}
}
