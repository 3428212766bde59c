package failover_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestASurvivorDiesWhileCopiesArePromoted: its own failover is the way out. It takes over what the first one had to do, and
// both end.
func TestASurvivorDiesWhileCopiesArePromoted(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(20)
	b.backUp(ours...)
	var saved, gone []string // of cell-1, by where their copies are
	for _, name := range ours {
		if _, backup := b.owner(name); backup == "cell-2" {
			gone = append(gone, name)
		} else {
			saved = append(saved, name)
		}
	}
	b.dies("cell-1")
	first := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	d, ctx, _ := b.driver()
	d.Step = func(s failover.StepName) {
		if s == failover.StepRing {
			b.gates["cell-2"].Vanish()
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := d.Run(ctx, first.Name)
		ended <- err
	}()
	b.await("what can be promoted", func() bool {
		run, err := b.client.Failovers().Get(t.Context(), first.Name, metav1.GetOptions{})
		b.must(err)
		return len(run.Status.Cells) == 2 && run.Status.Cells[0].Failing != "" && run.Status.Cells[1].Promoted == int64(len(saved))
	})
	// Not as long as nobody has failed over the cell that is away is cell-1's at an end.
	var theirs []string
	for _, name := range others {
		if owner, _ := b.owner(name); owner == "cell-2" {
			theirs = append(theirs, name)
			b.seal(name, "cell-2", "cell-3")
		}
	}
	b.dies("cell-2")
	asked, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-2", ConfirmEpoch: b.ring().Status.Epoch}, true)
	b.must(err)
	if exit.CodeOf(asked.Refused) != exit.Refused || asked.Finding.Unknown != int64(len(gone)) {
		t.Errorf("the second one is refused: %v, unknown %d; want a refusal for the %d copies in cell-2", asked.Refused, asked.Finding.Unknown, len(gone))
	}
	second := b.order(v1alpha1.FailoverSpec{Cell: "cell-2", AcceptLoss: int64(len(gone))})
	if _, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-1"}, false); exit.CodeOf(err) != exit.Refused {
		t.Errorf("the first one once more: %v, want that the second comes first", err)
	}
	b.carryOut(second.Name, v1alpha1.FailoverSucceeded)
	select {
	case err := <-ended:
		b.must(err)
	case <-time.After(patience):
		t.Fatal("the first failover did not end")
	}
	run, err := b.client.Failovers().Get(t.Context(), first.Name, metav1.GetOptions{})
	b.must(err)
	if run.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Errorf("the first failover: %+v", run.Status)
	}
	b.usable("cell-2", "1", append(slices.Clone(saved), theirs...)...)
	for _, name := range gone {
		if _, err := b.maps().get(name); !apierrors.IsNotFound(err) {
			t.Errorf("%s, whose copy died with cell-2: %v, want that it is gone", name, err)
		}
	}
}

// TestACellDiesBeforeItsCopiesAreMadeAgain: they were in a cell that was failed over. Nobody remembers their objects, which
// had copies; their number is to be agreed to, until the backup has made them again.
func TestACellDiesBeforeItsCopiesAreMadeAgain(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(20)
	b.backUp(append(slices.Clone(ours), others...)...)
	gone := int64(0)
	for _, name := range ours {
		if _, backup := b.owner(name); backup == "cell-3" {
			gone++
		}
	}
	for _, cell := range cellNames {
		b.publish(cell, b.ring().Status.Epoch)
	}
	b.count("cell-1", int64(len(ours)))
	b.forgotten("cell-1")
	b.dies("cell-3")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-3"}).Name, v1alpha1.FailoverSucceeded)
	b.dies("cell-1")
	ask := func() failover.Started {
		spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch}
		started, err := failover.Start(t.Context(), b.rcp, spec, true)
		b.must(err)
		return *started
	}
	before := ask()
	if loss := failover.Loss(&before.Finding.FailoverReport); gone == 0 || loss < gone || exit.CodeOf(before.Refused) != exit.Refused {
		t.Errorf("the loss is %d, refused: %v; want a refusal for the %d objects that have no copy any more", loss, before.Refused, gone)
	}
	var all []string
	for _, name := range append(slices.Clone(ours), others...) {
		if owner, _ := b.owner(name); owner == "cell-1" {
			all = append(all, name)
		}
	}
	b.backUp(all...)
	b.publish("cell-1", b.ring().Status.Epoch)
	if after := ask(); after.Refused != nil || failover.Loss(&after.Finding.FailoverReport) != 0 {
		t.Errorf("once all have copies again: the loss is %+v, refused: %v", after.Finding.FailoverReport, after.Refused)
	}
}

// TestACellThatDidNotAnswerBringsNothingBack that a client deleted meanwhile: neither by the run nor for a request that
// wants it, although its copy is there again before the run has read it.
func TestACellThatDidNotAnswerBringsNothingBack(t *testing.T) {
	b := newBed(t)
	var ours, away []string
	for i := 0; len(away) < 3; i++ {
		name := fmt.Sprint("y-", i)
		owner, backup := b.owner(name)
		if owner != "cell-1" {
			continue
		}
		_, err := b.maps().create(name, "1")
		b.must(err)
		if ours = append(ours, name); backup == "cell-2" {
			away = append(away, name)
		}
	}
	b.backUp(ours...)
	b.gates["cell-2"].Vanish()
	for _, name := range away[:2] {
		b.must(b.router.CoreV1().ConfigMaps(b.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	b.dies("cell-1")
	// No copy of the third one can be seen, so it counts as lost until then.
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 1})
	d, ctx, kill := b.driver()
	d.Step = func(s failover.StepName) {
		if s == failover.StepRing {
			kill()
		}
	}
	if _, err := d.Run(ctx, run.Name); err == nil {
		t.Fatal("the driver was not killed")
	}
	if s := b.ring().Status; !slices.Equal(s.Withheld, []string{"cell-2"}) {
		t.Errorf("withheld: %v, want cell-2", s.Withheld)
	}
	b.gates["cell-2"].Pass()
	b.await("the router to know that the copies in cell-2 are withheld", func() bool {
		noRetry, cancel := contextWithTimeout(t, 5*time.Second)
		defer cancel()
		err := b.router.CoreV1().RESTClient().Get().Namespace(b.namespace).Resource("configmaps").Name(away[0]).MaxRetries(0).Do(noRetry).Error()
		if err == nil {
			t.Fatalf("%s was deleted, and is brought back for a request", away[0])
		}
		return strings.Contains(err.Error(), "are still to be compared")
	})
	b.carryOut(run.Name, v1alpha1.FailoverSucceeded)
	for _, name := range away[:2] {
		if cm, err := b.maps().get(name); !apierrors.IsNotFound(err) {
			t.Errorf("%s was deleted: %v, %v; want that it is gone", name, cm, err)
		}
		ours = slices.DeleteFunc(ours, func(n string) bool { return n == name })
	}
	b.usable("cell-1", "1", ours...)
	if n := b.envelopes("cell-1"); n != 0 || len(b.ring().Status.Withheld) > 0 {
		t.Errorf("%d envelopes of the cell are left, withheld: %v", n, b.ring().Status.Withheld)
	}
}

// TestADamagedCopyProtectsNobody: its header is whole and its data is not. It is named as lost before anybody agrees.
func TestADamagedCopyProtectsNobody(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(3)
	b.backUp(ours...)
	_, backup := b.owner(ours[0])
	secrets := b.cells[backup].CoreV1().Secrets(v1alpha1.Namespace)
	secret, err := secrets.Get(t.Context(), envelope.Name("", "configmaps", b.namespace, ours[0]), metav1.GetOptions{})
	b.must(err)
	secret.Data["object"][12]++
	_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
	b.must(err)
	b.dies("cell-1")
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch}
	started, err := failover.Start(t.Context(), b.rcp, spec, true)
	b.must(err)
	if want := []string{failover.Key("", "configmaps", b.namespace, ours[0])}; !slices.Equal(started.Finding.Lost, want) || exit.CodeOf(started.Refused) != exit.Refused {
		t.Errorf("lost %v, refused %v; want %v, and a refusal", started.Finding.Lost, started.Refused, want)
	}
	spec.AcceptLoss = 1
	run := b.carryOut(b.order(spec).Name, v1alpha1.FailoverSucceeded)
	if run.Status.KeptObjects != 1 || run.Status.Kept[0].Reason != "Corrupt" {
		t.Errorf("kept: %+v", run.Status.Kept)
	}
	b.usable("cell-1", "1", ours[1:]...)
}

// TestARefusedCopyProtectsNobody: its cell would not take the object, as the backup has said. It is named as lost before
// anybody agrees, and that is what becomes of it.
func TestARefusedCopyProtectsNobody(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(3)
	b.backUp(ours...)
	_, backup := b.owner(ours[0])
	var alone []string
	for _, name := range ours[1:] {
		if _, other := b.owner(name); other != backup {
			alone = append(alone, name)
		}
	}
	_, err := b.cells[backup].CoreV1().ResourceQuotas(b.namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/configmaps": resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	b.must(err)
	b.await("the quota to count", func() bool {
		q, err := b.cells[backup].CoreV1().ResourceQuotas(b.namespace).Get(t.Context(), "none", metav1.GetOptions{})
		b.must(err)
		return len(q.Status.Hard) > 0
	})
	var refused []mirror.Unprotected
	var want []string
	for _, name := range ours {
		if slices.Contains(alone, name) {
			continue
		}
		cm, err := b.maps().get(name)
		b.must(err)
		refused = append(refused, mirror.Unprotected{
			Resource: "configmaps", Namespace: b.namespace, Name: name, UID: string(cm.UID), Backup: backup, Reason: mirror.Refused, Envelope: true,
		})
		want = append(want, failover.Key("", "configmaps", b.namespace, name))
	}
	slices.Sort(want)
	b.publish("cell-1", b.ring().Status.Epoch, refused...)
	b.dies("cell-1")
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch}
	started, err := failover.Start(t.Context(), b.rcp, spec, true)
	b.must(err)
	if !slices.Equal(started.Finding.Lost, want) || exit.CodeOf(started.Refused) != exit.Refused {
		t.Errorf("lost %v, refused %v; want %v, and a refusal", started.Finding.Lost, started.Refused, want)
	}
	spec.AcceptLoss = int64(len(want))
	run := b.carryOut(b.order(spec).Name, v1alpha1.FailoverSucceeded)
	var kept []string
	for _, k := range run.Status.Kept {
		kept = append(kept, k.Object)
	}
	slices.Sort(kept)
	if !slices.Equal(kept, want) {
		t.Errorf("kept: %+v, want %v", run.Status.Kept, want)
	}
	b.usable("cell-1", "1", alone...)
}

// TestAnEnvelopeThatIsAllThereIs is saved when the cell that has it comes back: the object's own cell was failed over as
// well, and nobody could promote it.
func TestAnEnvelopeThatIsAllThereIs(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(2)
	var living string
	for _, name := range others {
		if owner, _ := b.owner(name); owner == "cell-2" {
			living = name
		}
	}
	if living == "" {
		living = ours[0]
	}
	owner, _ := b.owner(living)
	if owner != "cell-1" {
		b.seal(living, owner, "cell-1")
	}
	_, err := (configMaps{b, b.cells["cell-2"]}).create("orphan", "1")
	b.must(err)
	b.seal("orphan", "cell-2", "cell-1")
	b.must(b.cells["cell-2"].CoreV1().ConfigMaps(b.namespace).Delete(t.Context(), "orphan", metav1.DeleteOptions{}))
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.gates["cell-1"].Pass()
	dir := t.TempDir()
	_, err = (&failover.Failback{
		RCP: b.rcp, Identity: t.Name(), LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
	}).Run(t.Context())
	b.must(err)
	folder := filepath.Join(dir, "configmaps", b.namespace)
	text, err := os.ReadFile(filepath.Join(folder, "orphan.copy.yaml"))
	if err != nil || !strings.Contains(string(text), "value: \"1\"") {
		t.Errorf("the copy: %v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(folder, living+".copy.yaml")); err == nil {
		t.Errorf("%s lives, and its old copy was saved", living)
	}
	list, err := b.cells["cell-1"].CoreV1().Secrets(corev1.NamespaceAll).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d envelopes are left, error %v", len(list.Items), err)
	}
}
