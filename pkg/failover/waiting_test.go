package failover_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// TestWhatMovedWhileTheBackupWasLateIsNamed: it published its mark long after the move, as another resource went on, and had not
// made the copies yet.
func TestWhatMovedWhileTheBackupWasLateIsNamed(t *testing.T) {
	b := newBed(t)
	began := time.Now()
	all, name, ended := b.growsToThree()
	epoch, resources := b.ring().Status.Epoch, map[string]string{"configmaps": "1", "secrets": "1"}
	b.markAt("cell-3", time.Now().Add(time.Minute), map[string]time.Time{"configmaps": began}, epoch, resources)
	b.namesWhatMoved("cell-3", name, all...)
	// Once nothing waits what has no copy was deleted.
	b.markAt("cell-3", time.Now().Add(time.Minute), map[string]time.Time{"secrets": began}, epoch, resources)
	facts, err := failover.Read(t.Context(), b.rcp, "cell-3")
	b.must(err)
	report, err := failover.Report(facts)
	b.must(err)
	if len(report.Lost) > 0 {
		t.Errorf("lost %v, though the backup has had everything", report.Lost)
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.must(<-ended)
}

// TestARouterThatWasRestartedWhileTheBackupWasLate remembers nothing of what waited when that spoke last: the preflight says so,
// of which router and from when on.
func TestARouterThatWasRestartedWhileTheBackupWasLate(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.forgetAll()
	since := time.Now()
	b.must(b.maps().set(ours[0], "2"))
	b.must(b.stop())
	b.router = kubeOf(t, b.startRouter())
	// What waits is older than the router, and the mark is younger.
	resources := map[string]string{"configmaps": "1"}
	b.markAt("cell-1", time.Now().Add(time.Minute), map[string]time.Time{"configmaps": since}, b.ring().Status.Epoch, resources)
	b.dies("cell-1")
	asked := b.ask("cell-1")
	want := "and the backup has come as far as " + since.UTC().Format("15:04:05")
	if said := strings.Join(asked.Finding.Warnings, "\n"); !strings.Contains(said, want) {
		t.Errorf("warnings %q; want %q", said, want)
	}
	b.markAt("cell-1", time.Now().Add(time.Minute), nil, b.ring().Status.Epoch, resources)
	if said := strings.Join(b.ask("cell-1").Finding.Warnings, "\n"); strings.Contains(said, "has come as far as") {
		t.Errorf("nothing waited, and the warnings are %q", said)
	}
}

// ask is the preflight of a cell, for which no loss is accepted.
func (b *bed) ask(cell string) *failover.Started {
	b.t.Helper()
	asked, err := failover.Start(b.t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: cell, ConfirmEpoch: b.ring().Status.Epoch}, true)
	b.must(err)
	return asked
}

// forgetAll has the router forget all that it knows of the cells.
func (b *bed) forgetAll() {
	b.t.Helper()
	for _, cell := range cellNames {
		b.publish(cell, b.ring().Status.Epoch)
		b.forgotten(cell)
	}
}

// startBackup runs a backup daemon until the returned function is called, or the test ends.
func (b *bed) startBackup() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- backup.Run(ctx, backup.Config{
			RCP: b.rcp, Identity: b.t.Name(), Listen: "127.0.0.1:0", LeaseDuration: steadyLease,
			Ready: func(url string) { ready <- url }, Logger: quiet(), Now: time.Now,
		})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		b.must(<-ended)
	}
	b.t.Cleanup(func() {
		stop()
		for _, cell := range cellNames { // no other test has a daemon
			_, err := b.client.Cells().Patch(context.Background(), cell, types.MergePatchType, []byte(`{"status":{"backup":null,"backupLag":null,"counts":null}}`), metav1.PatchOptions{}, "status")
			b.must(err)
		}
	})
	<-ready
	return stop
}

// TestACopyThatGoesWhileItsCellIsDead, by hand: nobody can make it again. A backup daemon that knew it names its object. One that
// began when the cell was dead does not, and that there are fewer copies than were counted is a loss without names.
func TestACopyThatGoesWhileItsCellIsDead(t *testing.T) {
	b := newBed(t)
	for _, cell := range cellNames { // a daemon says what is so itself
		b.unmark(cell)
	}
	ours, _ := b.fill(4)
	stop := b.startBackup()
	b.await("all to have copies, and the router to forget them", func() bool {
		facts, err := failover.Read(t.Context(), b.rcp, "cell-1")
		b.must(err)
		return b.envelopes("cell-1") == len(ours) && facts.Mark != nil && facts.Envelopes == int64(len(ours)) &&
			len(facts.Witnesses) == 1 && facts.Witnesses[0].Err == nil && len(facts.Witnesses[0].Ledger.Entries) == 0
	})
	b.dies("cell-1")
	spoils := func(name string, unlabel bool) {
		_, home := b.owner(name)
		secrets := b.cells[home].CoreV1().Secrets(v1alpha1.Namespace)
		secret, err := secrets.Get(t.Context(), envelope.Name("", "configmaps", b.namespace, name), metav1.GetOptions{})
		b.must(err)
		if !unlabel {
			b.must(secrets.Delete(t.Context(), secret.Name, metav1.DeleteOptions{}))
			return
		}
		delete(secret.Labels, v1alpha1.LabelSourceCell)
		_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
		b.must(err)
	}
	spoils(ours[0], false)
	spoils(ours[1], true)
	want := []string{failover.Key("", "configmaps", b.namespace, ours[0]), failover.Key("", "configmaps", b.namespace, ours[1])}
	slices.Sort(want)
	var asked *failover.Started
	b.await("both to be named", func() bool {
		asked = b.ask("cell-1")
		return slices.Equal(asked.Finding.Lost, want)
	})
	if loss := failover.Loss(&asked.Finding.FailoverReport); loss != 2 || exit.CodeOf(asked.Refused) != exit.Refused || !strings.Contains(asked.Refused.Error(), "2 objects would be lost") {
		t.Errorf("the loss is %d, refused: %v; want a refusal for two", loss, asked.Refused)
	}
	stop()
	b.startBackup()
	spoils(ours[2], false)
	b.await("another one to be missed", func() bool {
		asked = b.ask("cell-1")
		return asked.Finding.Unknown > 0
	})
	if loss := failover.Loss(&asked.Finding.FailoverReport); !slices.Equal(asked.Finding.Lost, want) || asked.Finding.Unknown != 1 || loss != 3 {
		t.Errorf("lost %v, unknown %d, loss %d; want %v, 1, 3", asked.Finding.Lost, asked.Finding.Unknown, loss, want)
	}
	if !slices.ContainsFunc(asked.Finding.Warnings, func(w string) bool { return strings.Contains(w, "and 1 fewer are there") }) {
		t.Errorf("warnings %q; want that a copy is missing", asked.Finding.Warnings)
	}
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 3}).Name, v1alpha1.FailoverSucceeded)
	if run.Status.Report.Lost != 2 || !slices.ContainsFunc(run.Status.Report.Warnings, func(w string) bool { return strings.Contains(w, "and 1 fewer are there") }) {
		t.Errorf("the report of the run: %+v", run.Status.Report)
	}
	b.usable("cell-1", "1", ours[3])
}
