package failover_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestACellThatIsLostForGood is given up: its name is off the ring, what was never brought back is in a file, and what its
// control plane has does not count any more, should it come back; whoever carries that out may die at each step.
func TestACellThatIsLostForGood(t *testing.T) {
	b := newBed(t)
	b.returnsAfterwards("cell-1")
	ours, others := b.fill(4)
	lost, saved := ours[3], ours[:3]
	b.backUp(saved...)
	where := b.sealedAside(lost)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 1}).Name, v1alpha1.FailoverSucceeded)
	before, dir, other := b.ring(), filepath.Join(t.TempDir(), "kept"), t.TempDir()

	without := b.forget(dir)
	without.Force = false
	if _, err := without.Run(t.Context()); exit.CodeOf(err) != exit.Refused || !strings.Contains(exit.HintOf(err, exit.Plugin), "remove cell-1 --force") {
		t.Errorf("without a word for it: %v, hint %q", err, exit.HintOf(err, exit.Plugin))
	}
	dry := b.forget(dir)
	dry.DryRun = true
	seen, err := dry.Run(t.Context())
	b.must(err)
	want := v1alpha1.FailoverKept{Object: failover.Key("", "configmaps", b.namespace, lost), Cell: where, Reason: "NotPromoted"}
	if _, err := os.Stat(dir); err == nil || seen == nil || seen.KeptObjects != 1 || !slices.Equal(seen.Kept, []v1alpha1.FailoverKept{want}) || seen.Epoch != 0 {
		t.Errorf("a dry run: %+v, folder %v; want %v named, and nothing saved", seen, err, want)
	}
	if now := b.ring(); now.ResourceVersion != before.ResourceVersion || b.envelopes("cell-1") != 1 {
		t.Errorf("a dry run changed the ring, or deleted copies, of which there are %d", b.envelopes("cell-1"))
	}
	for i, step := range []failover.StepName{failover.StepSettle, failover.StepRemove} {
		b.killedAt(step, func(ctx context.Context, rcp *rest.Config, took func(failover.StepName)) error {
			f := b.forget([]string{dir, other}[i])
			f.RCP, f.Step = rcp, took
			_, err := f.Run(ctx)
			return err
		})
		b.unheld()
		if step == failover.StepSettle {
			continue
		}
		if _, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the Cell: %v; want it gone", err)
		}
		if !slices.Contains(b.ring().Status.Unavailable, "cell-1") {
			t.Error("the name was given back before the Cell was gone for good")
		}
	}
	done, err := b.forget(other).Run(t.Context())
	b.must(err)
	b.givenUpFor("cell-1", before, done)
	if done.KeptObjects != 1 || !slices.Equal(done.Kept, []v1alpha1.FailoverKept{want}) || done.Dir != "here:"+dir {
		t.Errorf("at the end: %+v; want %v named, and where the first call has saved it", done, want)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "configmaps", b.namespace, lost+".copy.yaml")); err != nil || !strings.Contains(string(text), "name: "+lost) {
		t.Errorf("the copy that was never brought back: %v\n%s", err, text)
	}
	if again, err := b.forget(dir).Run(t.Context()); again != nil || err != nil {
		t.Errorf("once more: %+v, %v; want nothing to give up", again, err)
	}
	b.comesBackInVain(lost, saved, others)
	b.startsAnew()
}

// returnsAfterwards has a cell be one again once the test has ended, whatever has become of it: others count on it.
func (b *bed) returnsAfterwards(name string) {
	config := b.configs[name]
	b.t.Cleanup(func() {
		ctx := context.Background()
		if _, err := b.client.Cells().Get(ctx, name, metav1.GetOptions{}); err == nil {
			return
		}
		ring, err := b.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
		b.must(err)
		ring.Status.Unavailable = nil
		for i := range ring.Status.Slots {
			ring.Status.Slots[i].GivenUp = false
		}
		_, err = b.client.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{})
		b.must(err)
		b.must(failover.Thaw(ctx, config))
		_, err = federation.AddCell(ctx, b.rcp, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(b.t, config)}, federation.Options{})
		b.must(err)
	})
}

// sealedAside makes a copy of an object of cell-1 in a cell where the ring does not look for it, so that no failover brings it
// back, and says where.
func (b *bed) sealedAside(name string) (cell string) {
	b.t.Helper()
	_, backup := b.owner(name)
	cell = cellNames[1]
	if cell == backup {
		cell = cellNames[2]
	}
	_, err := b.cells[cell].CoreV1().Secrets(v1alpha1.Namespace).Create(b.t.Context(), b.sealed(name, "cell-1", cell), metav1.CreateOptions{})
	b.must(err)
	return cell
}

func (b *bed) forget(dir string) *failover.Forget {
	return &failover.Forget{
		RCP: b.rcp, Identity: fmt.Sprint("it-", time.Now().UnixNano()), LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Force: true,
	}
}

// givenUpFor wants nothing to be left of a cell in the RCP but its slot, which is nobody's, and no copies of its objects.
func (b *bed) givenUpFor(cell string, before *v1alpha1.Ring, done *failover.Forgotten) {
	b.t.Helper()
	s := b.ring().Status
	if len(s.Unavailable) > 0 || done == nil || done.Epoch != s.Epoch || s.Epoch <= before.Status.Epoch {
		b.t.Errorf("unavailable %v, epoch %d after %d; said was %+v", s.Unavailable, s.Epoch, before.Status.Epoch, done)
	}
	if slot := b.slot(cell); !slot.GivenUp {
		b.t.Errorf("slot %+v; want it given up", slot)
	}
	if _, err := b.client.Cells().Get(b.t.Context(), cell, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		b.t.Errorf("the Cell: %v; want it gone", err)
	}
	if _, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(b.t.Context(), "cell-"+cell, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		b.t.Errorf("its credentials: %v; want them gone", err)
	}
	if n := b.envelopes(cell); n != 0 {
		b.t.Errorf("%d envelopes of the cell are left", n)
	}
}

// slot is the one that counts of a cell's.
func (b *bed) slot(cell string) v1alpha1.RingSlot {
	var last v1alpha1.RingSlot
	for _, slot := range b.ring().Status.Slots {
		if slot.Cell == cell && slot.Slot > last.Slot {
			last = slot
		}
	}
	return last
}

// comesBackInVain starts the control plane again, with all that it had: nobody sees it, no router leads to it, and it is no cell.
func (b *bed) comesBackInVain(lost string, saved, others []string) {
	b.t.Helper()
	b.gates["cell-1"].Pass()
	b.acknowledged()
	for _, name := range slices.Concat(saved, others) {
		if err := b.maps().set(name, "since"); err != nil {
			b.t.Errorf("write %s: %v", name, err)
		}
	}
	if _, err := b.maps().get(lost); !apierrors.IsNotFound(err) {
		b.t.Errorf("%s, which the old control plane alone has: %v; want it not found", lost, err)
	}
	b.await("the router to know of no such Cell", func() bool {
		_, err := b.router.CoreV1().RESTClient().Get().AbsPath("/cells/cell-1/api/v1/namespaces").DoRaw(b.t.Context())
		return apierrors.IsNotFound(err)
	})
	back := &failover.Failback{RCP: b.rcp, Identity: "it", Cell: "cell-1", Dir: b.t.TempDir(), Logger: quiet()}
	if _, err := back.Run(b.t.Context()); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "was not failed over") {
		b.t.Errorf("its failback: %v", err)
	}
	for _, name := range []string{"cell-1", "cell-9"} {
		_, err := federation.AddCell(b.t.Context(), b.rcp, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(b.t, b.configs["cell-1"])}, federation.Options{})
		if exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "control plane of cell cell-1, which was failed over and given up, and it still holds") {
			b.t.Errorf("with what it had, as %s: %v; want it refused", name, err)
		}
		if _, err := b.client.Cells().Get(b.t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			b.t.Errorf("Cell %s: %v; want none", name, err)
		}
	}
}

// startsAnew takes the control plane in once it is empty, in another slot and not frozen.
func (b *bed) startsAnew() {
	b.t.Helper()
	old := b.slot("cell-1")
	if frozen := failover.Freeze(b.t.Context(), b.configs["cell-1"]); !frozen.InForce() {
		b.t.Fatal(frozen)
	}
	b.empty(b.configs["cell-1"])
	added, err := federation.AddCell(b.t.Context(), b.rcp, federation.NewCell{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(b.t, b.configs["cell-1"])}, federation.Options{})
	b.must(err)
	if slot := b.slot("cell-1"); !added.Created || !added.Change.Changed || slot.Slot <= old.Slot || slot.GivenUp {
		b.t.Errorf("added %+v, slot %+v after %+v", added, slot, old)
	}
	if _, err := (configMaps{b, b.cells["cell-1"]}).create("own", "1"); err != nil {
		b.t.Errorf("a write in it: %v; want it thawed", err)
	}
}

// TestAFailbackThatNeverEnds: the cell dies for good while it comes back, before or after its name was given back.
func TestAFailbackThatNeverEnds(t *testing.T) {
	for _, step := range []failover.StepName{failover.StepCompare, failover.StepAdmit} {
		t.Run(string(step), func(t *testing.T) {
			b := newBed(t)
			b.returnsAfterwards("cell-1")
			ours, _ := b.fill(1)
			b.backUp(ours...)
			b.dies("cell-1")
			b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
			before := b.ring()
			b.gates["cell-1"].Pass()
			b.killedAt(step, func(ctx context.Context, rcp *rest.Config, took func(failover.StepName)) error {
				back := &failover.Failback{
					RCP: rcp, Identity: "back", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Logger: quiet(), Step: took,
				}
				_, err := back.Run(ctx)
				return err
			})
			b.gates["cell-1"].Vanish()
			if _, err := b.forget(t.TempDir()).Run(t.Context()); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "back holds the Lease") {
				t.Errorf("while somebody seems to be at it: %v; want it refused", err)
			}
			b.unheld()
			without := b.forget(t.TempDir())
			without.Force = false
			if _, err := without.Run(t.Context()); exit.CodeOf(err) != exit.Refused {
				t.Errorf("without a word for it: %v; want it refused", err)
			}
			done, err := b.forget(t.TempDir()).Run(t.Context())
			b.must(err)
			b.givenUpFor("cell-1", before, done)
			run, err := b.client.Failovers().Get(t.Context(), done.Failback, metav1.GetOptions{})
			b.must(err)
			if run.Spec.Direction != v1alpha1.DirectionFailback || run.Status.Phase != v1alpha1.FailoverFailed {
				t.Errorf("%s %s is %s; want the failback failed", run.Spec.Direction, run.Name, run.Status.Phase)
			}
		})
	}
}

// TestNobodyIsGivenUpWhileTheNameMayCount: while something is under way, or copies may be where nobody can look.
func TestNobodyIsGivenUpWhileTheNameMayCount(t *testing.T) {
	b := newBed(t)
	b.returnsAfterwards("cell-1")
	ours, _ := b.fill(1)
	b.backUp(ours...)
	refused := func(while, words string) {
		t.Helper()
		_, err := b.forget(t.TempDir()).Run(t.Context())
		if exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want it refused with %q", while, err, words)
		}
		if _, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{}); err != nil {
			t.Fatalf("%s: the Cell: %v", while, err)
		}
	}
	if done, err := b.forget(t.TempDir()).Run(t.Context()); done != nil || err != nil {
		t.Errorf("a member: %+v, %v; want nothing to give up", done, err)
	}
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	b.carryOut(run.Name, v1alpha1.FailoverSucceeded)
	edit := func(change func(*v1alpha1.RingStatus)) {
		t.Helper()
		ring := b.ring()
		change(&ring.Status)
		_, err := b.client.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{})
		b.must(err)
	}
	edit(func(s *v1alpha1.RingStatus) { s.Phase, s.Rebalance = v1alpha1.RingRebalancing, "r-x" })
	refused("a rebalance", "rebalance r-x has not ended")
	edit(func(s *v1alpha1.RingStatus) { s.Phase, s.Rebalance = v1alpha1.RingStable, "" })
	other, err := b.client.Failovers().Create(t.Context(), &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: "fo-other"}, Spec: v1alpha1.FailoverSpec{Cell: "cell-2", ConfirmEpoch: 1, Direction: v1alpha1.DirectionFailover},
	}, metav1.CreateOptions{})
	b.must(err)
	refused("another failover", "failover fo-other of cell cell-2 has not ended")
	b.must(b.client.Failovers().Delete(t.Context(), other.Name, metav1.DeleteOptions{}))
	b.neverBroughtBack("lost", "cell-2")
	b.gates["cell-3"].Refuse()
	refused("a cell that does not answer", "cell cell-3 may have copies of the objects of cell cell-1")
	if b.envelopes("cell-1") != 1 {
		t.Error("a copy was deleted in cell-2, before cell-3 had answered")
	}
	b.gates["cell-3"].Pass()
	if done, err := b.forget(t.TempDir()).Run(t.Context()); err != nil || done == nil || done.Epoch == 0 || done.KeptObjects != 1 {
		t.Errorf("after all: %+v, %v", done, err)
	}
}

// neverBroughtBack makes an object in cell-1, which was failed over, and a copy of it in a cell, as if no failover could
// bring that back.
func (b *bed) neverBroughtBack(name, cell string) {
	b.t.Helper()
	_, err := (configMaps{b, b.cells["cell-1"]}).create(name, "lost")
	b.must(err)
	b.seal(name, "cell-1", cell)
}

// TestACellThatIsGivenUpInPart: something is deleted when another cell falls silent, and when a failover is ordered. That is
// no refusal, and whoever goes on names what all have saved.
func TestACellThatIsGivenUpInPart(t *testing.T) {
	b := newBed(t)
	b.returnsAfterwards("cell-1")
	ours, _ := b.fill(1)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	before, dirs := b.ring(), []string{t.TempDir(), t.TempDir()}
	b.neverBroughtBack("first", "cell-2")
	b.neverBroughtBack("second", "cell-3")
	partly := func(f *failover.Forget, words string) {
		t.Helper()
		_, err := f.Run(t.Context())
		if hint := exit.HintOf(err, exit.Plugin); exit.CodeOf(err) != exit.Partial || !strings.Contains(err.Error(), words) ||
			!strings.Contains(hint, "kubectl cell remove cell-1 --force") {
			t.Fatalf("it ended with %v, hint %q; want it done in part, with %q", err, hint, words)
		}
		if !slices.Contains(b.ring().Status.Unavailable, "cell-1") {
			t.Error("the name was given back")
		}
	}
	f := b.forget(dirs[0])
	f.WrapCell = func(cell string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if cell == "cell-2" && r.Method == http.MethodDelete {
					b.gates["cell-3"].Refuse()
				}
				return next.RoundTrip(r)
			})
		})
	}
	partly(f, "cell cell-3 may have copies of the objects of cell cell-1")
	if b.envelopes("cell-1") != 1 {
		t.Errorf("%d copies are left; want that in cell-3", b.envelopes("cell-1"))
	}
	b.gates["cell-3"].Pass()
	f = b.forget(dirs[1])
	f.Step = func(step failover.StepName) {
		if step != failover.StepRemove {
			return
		}
		_, err := b.client.Failovers().Create(t.Context(), &v1alpha1.Failover{
			ObjectMeta: metav1.ObjectMeta{Name: "fo-other"}, Spec: v1alpha1.FailoverSpec{Cell: "cell-2", ConfirmEpoch: 1, Direction: v1alpha1.DirectionFailover},
		}, metav1.CreateOptions{})
		b.must(err)
	}
	partly(f, "failover fo-other of cell cell-2 has not ended")
	b.must(b.client.Failovers().Delete(t.Context(), "fo-other", metav1.DeleteOptions{}))
	done, err := b.forget(t.TempDir()).Run(t.Context())
	b.must(err)
	b.givenUpFor("cell-1", before, done)
	want := []v1alpha1.FailoverKept{
		{Object: failover.Key("", "configmaps", b.namespace, "first"), Cell: "cell-2", Reason: "NotPromoted"},
		{Object: failover.Key("", "configmaps", b.namespace, "second"), Cell: "cell-3", Reason: "NotPromoted"},
	}
	if done.KeptObjects != 2 || !slices.Equal(done.Kept, want) || done.Dir != "here:"+dirs[0]+", here:"+dirs[1] {
		t.Errorf("at the end: %+v; want %v and both folders", done, want)
	}
	for _, name := range []string{"first", "second"} {
		if _, err := os.Stat(filepath.Join(dirs[0], "configmaps", b.namespace, name+".copy.yaml")); err != nil {
			t.Errorf("nothing was to be deleted before all was saved: %v", err)
		}
	}
}

// TestWhatEarlierCallsHaveKept: of the record of a failover what it could not bring back itself counts only where it is
// still there, and says why; what another call has saved counts once.
func TestWhatEarlierCallsHaveKept(t *testing.T) {
	kept := func(object, reason string) v1alpha1.FailoverKept {
		return v1alpha1.FailoverKept{Object: object, Cell: "cell-2", Reason: reason}
	}
	found := func(n int64, kept ...v1alpha1.FailoverKept) *v1alpha1.FailoverStatus {
		return &v1alpha1.FailoverStatus{Kept: kept, KeptObjects: n, Quarantine: "here:b"}
	}
	for name, test := range map[string]struct{ record, found, want v1alpha1.FailoverStatus }{
		"of the failover itself": {
			v1alpha1.FailoverStatus{Kept: []v1alpha1.FailoverKept{kept("x", "Conflict"), kept("dealt with", "Conflict")}, KeptObjects: 2},
			*found(2, kept("x", "NotPromoted"), kept("y", "NotPromoted")),
			*found(2, kept("x", "Conflict"), kept("y", "NotPromoted")),
		},
		"of a call that was cut off": {
			v1alpha1.FailoverStatus{Kept: []v1alpha1.FailoverKept{kept("x", "Conflict"), kept("y", "NotPromoted")}, KeptObjects: 2, Quarantine: "here:a"},
			*found(2, kept("y", "NotPromoted"), kept("z", "Corrupt")),
			v1alpha1.FailoverStatus{
				Kept: []v1alpha1.FailoverKept{kept("x", "Conflict"), kept("y", "NotPromoted"), kept("z", "Corrupt")}, KeptObjects: 3, Quarantine: "here:a, here:b",
			},
		},
		"more than are named": {
			v1alpha1.FailoverStatus{Kept: []v1alpha1.FailoverKept{kept("x", "Conflict")}, KeptObjects: 300, Quarantine: "here:b"},
			*found(200, kept("x", "NotPromoted"), kept("counted before", "NotPromoted")),
			v1alpha1.FailoverStatus{
				Kept: []v1alpha1.FailoverKept{kept("x", "Conflict"), kept("counted before", "NotPromoted")}, KeptObjects: 300, Quarantine: "here:b",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if failover.Carry(&test.record, &test.found); !equality.Semantic.DeepEqual(test.record, test.want) {
				t.Errorf("%+v; want %+v", test.record, test.want)
			}
		})
	}
}

// TestAFailbackThatIsOrderedTooLate: whoever gives the cell up has the Lease by then. Its record ends, and does not begin
// again when the failback has the Lease.
func TestAFailbackThatIsOrderedTooLate(t *testing.T) {
	b := newBed(t)
	b.returnsAfterwards("cell-1")
	ours, _ := b.fill(1)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	before := b.ring()
	b.gates["cell-1"].Pass()
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()
	late := &failover.Failback{
		RCP: b.rcp, Identity: "late", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet(),
	}
	ended := make(chan error, 1)
	f := b.forget(t.TempDir())
	f.Step = func(step failover.StepName) {
		if step != failover.StepSettle {
			return
		}
		go func() {
			_, err := late.Run(ctx)
			ended <- err
		}()
		b.await("the failback to be ordered", func() bool {
			list, err := b.client.Failovers().List(t.Context(), metav1.ListOptions{})
			b.must(err)
			return slices.ContainsFunc(list.Items, func(run v1alpha1.Failover) bool { return run.Spec.Direction == v1alpha1.DirectionFailback })
		})
	}
	done, err := f.Run(ctx)
	b.must(err)
	b.givenUpFor("cell-1", before, done)
	if err := <-ended; exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "cell cell-1 was given up") {
		t.Errorf("the failback ended with %v; want it refused", err)
	}
	run, err := b.client.Failovers().Get(t.Context(), done.Failback, metav1.GetOptions{})
	b.must(err)
	if run.Status.Phase != v1alpha1.FailoverFailed {
		t.Errorf("failback %s is %s; want it failed", run.Name, run.Status.Phase)
	}
	if again, err := b.forget(t.TempDir()).Run(t.Context()); again != nil || err != nil {
		t.Errorf("once more: %+v, %v; want nothing to give up", again, err)
	}
}
