package failover_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	"github.com/kubecell/kubectl-cell/pkg/routing"
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

// unknownIn has the test go on in a namespace that a cell was not told of, until the returned function is called.
func (b *bed) unknownIn(cell string) (learn func()) {
	b.t.Helper()
	b.namespace = namespacePrefix + strconv.FormatInt(time.Now().UnixNano(), 10)
	makeIn := func(kube kubernetes.Interface) {
		_, err := kube.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
	makeIn(b.kube)
	for name, kube := range b.cells {
		if name != cell {
			makeIn(kube)
		}
	}
	return func() { makeIn(b.cells[cell]) }
}

// TestASurvivorLearnsWhatItLacks: it was away when a namespace was made, which is copied to it while copies are promoted. Nobody
// would bring back later what the run has kept.
func TestASurvivorLearnsWhatItLacks(t *testing.T) {
	b := newBed(t)
	learn := b.unknownIn("cell-2")
	names := b.backedUpIn("cell-2", 2)
	b.mended(learn)
	b.usable("cell-1", "1", names...)
}

// twice makes a config map of cell-1 of which cell-2 has the copy, and while cell-3 joins that has an older one.
func (b *bed) twice() (name string) {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		s := &ring.Status
		s.Current, s.Target = ring.Spec.RingLayout.DeepCopy(), ring.Spec.RingLayout.DeepCopy()
		s.Current.Members = layout("cell-1", "cell-2").Members
		s.Phase, s.Epoch = v1alpha1.RingRebalancing, s.Epoch+1
		_, err := b.client.Rings().UpdateStatus(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
	b.acknowledged()
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	for i := 0; ; i++ {
		name = fmt.Sprintf("z-%d", i)
		if p, _ := snap.Table.LookupKey(b.namespace + "/" + name); p.Old() == "cell-1" && p.New() == "cell-1" && p.NewBackup() == "cell-3" {
			break
		}
	}
	_, err = b.maps().create(name, "older")
	b.must(err)
	b.seal(name, "cell-1", "cell-3")
	b.must(b.maps().set(name, "newer"))
	b.seal(name, "cell-1", "cell-2")
	return name
}

// isIn wants a config map to be in one of the cells alone, with a value, and no copy of it to be left.
func (b *bed) isIn(cell, value, name string) {
	b.t.Helper()
	for _, other := range []string{"cell-2", "cell-3"} {
		cm, err := (configMaps{b, b.cells[other]}).get(name)
		switch {
		case other != cell && !apierrors.IsNotFound(err):
			b.t.Errorf("%s is in %s as well: %v, %v", name, other, cm, err)
		case other == cell && (err != nil || cm.Data["value"] != value):
			b.t.Errorf("%s in %s: %v, %v; want %q", name, cell, cm, err, value)
		}
	}
	if n := b.envelopes("cell-1"); n != 0 {
		b.t.Errorf("%d envelopes of the cell are left", n)
	}
}

// TestAnOlderCopyDoesNotComeFirst while the cell of the newer one may learn what it lacks.
func TestAnOlderCopyDoesNotComeFirst(t *testing.T) {
	b := newBed(t)
	learn := b.unknownIn("cell-2")
	name := b.twice()
	b.mended(learn)
	b.isIn("cell-2", "newer", name)
}

// TestAnOlderCopyComesLast: the cell of the newer one has not learned what it lacks. Before the run says so no request brings the
// older one back, either.
func TestAnOlderCopyComesLast(t *testing.T) {
	b := newBed(t)
	b.unknownIn("cell-2")
	name := b.twice()
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	d, ctx, kill := b.driver()
	d.Step = func(s failover.StepName) {
		if s == failover.StepRing {
			kill()
		}
	}
	if _, err := d.Run(ctx, run.Name); err == nil {
		t.Fatal("the driver was not killed")
	}
	b.await("the router to know that the object cannot be brought back yet", func() bool {
		noRetry, cancel := contextWithTimeout(t, 5*time.Second)
		defer cancel()
		err := b.router.CoreV1().RESTClient().Get().Namespace(b.namespace).Resource("configmaps").Name(name).MaxRetries(0).Do(noRetry).Error()
		if err == nil {
			t.Fatalf("an older state of %s is brought back for a request", name)
		}
		return strings.Contains(err.Error(), "cannot be brought back yet")
	})
	if n := b.envelopes("cell-1"); n != 2 {
		t.Errorf("%d envelopes are left, want both", n)
	}
	if ended := b.carryOut(run.Name, v1alpha1.FailoverSucceeded); ended.Status.KeptObjects != 0 {
		t.Errorf("kept: %+v", ended.Status.Kept)
	}
	b.isIn("cell-3", "older", name)
	if cm, err := b.maps().get(name); err != nil || cm.Data["value"] != "older" {
		t.Errorf("through the router: %v, %v", cm, err)
	}
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
