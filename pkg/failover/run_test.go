package failover_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// TestADeadCellsObjectsAreServedAgain: what has a copy is there and writable, what has none is gone, and both were known
// by name before. Lists are complete, and watches end with 410.
func TestADeadCellsObjectsAreServedAgain(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(8)
	saved, stale, lost, deleted := ours[:4], ours[4:6], ours[6:7], ours[7]
	b.backUp(append(slices.Clone(saved), stale...)...)
	b.backUp(deleted)
	for _, name := range stale {
		b.must(b.maps().set(name, "2"))
	}
	maps := b.router.CoreV1().ConfigMaps(b.namespace)
	b.must(maps.Delete(t.Context(), deleted, metav1.DeleteOptions{}))
	before, err := maps.List(t.Context(), metav1.ListOptions{})
	b.must(err)
	watching, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion})
	b.must(err)
	defer watching.Stop()
	b.dies("cell-1")

	started, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-1"}, false)
	b.must(err)
	keys := func(names []string) []string {
		var out []string
		for _, name := range names {
			out = append(out, failover.Key("", "configmaps", b.namespace, name))
		}
		slices.Sort(out)
		return out
	}
	found := started.Finding
	slices.Sort(found.Stale)
	if exit.CodeOf(started.Refused) != exit.Refused || !slices.Equal(found.Lost, keys(lost)) || !slices.Equal(found.Stale, keys(stale)) ||
		len(found.Resurrected) != 1 || found.Protected != int64(len(saved)) {
		t.Errorf("refused: %v, lost %v, stale %v, resurrected %v, protected %d", started.Refused, found.Lost, found.Stale, found.Resurrected, found.Protected)
	}
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 3}).Name, v1alpha1.FailoverSucceeded)
	b.usable("cell-1", "1", append(slices.Clone(saved), stale...)...)
	for _, name := range append(slices.Clone(lost), deleted) {
		if _, err := b.maps().get(name); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v, want that it is gone", name, err)
		}
	}
	after, err := maps.List(t.Context(), metav1.ListOptions{})
	b.must(err)
	listed := 0
	for _, cm := range after.Items {
		if cm.Name != "kube-root-ca.crt" {
			listed++
		}
	}
	if want := len(saved) + len(stale) + len(others); listed != want {
		t.Errorf("%d objects are listed, want %d", listed, want)
	}
	b.expired(watching)
	late, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion})
	b.must(err)
	defer late.Stop()
	b.expired(late)
	if n := b.envelopes("cell-1"); n != 0 {
		t.Errorf("%d envelopes of the cell are left", n)
	}
	s := run.Status
	for _, step := range s.Steps {
		t.Logf("%s: %s, %s", step.Name, step.CompletionTime.Sub(step.StartTime.Time).Round(time.Millisecond), step.Message)
	}
	if s.Member == nil || s.Member.Weight != 100 || s.Report.Lost != 1 || s.Report.Stale != 2 || len(s.Steps) != 6 || s.KeptObjects != 0 {
		t.Errorf("record: %+v", s)
	}
	again, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-1"}, false)
	b.must(err)
	if again.Done == nil || again.Done.Name != run.Name || again.Run != nil {
		t.Errorf("once more: %+v", again)
	}
}

// expired wants a watch to end with 410.
func (b *bed) expired(w watch.Interface) {
	b.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, open := <-w.ResultChan():
			switch {
			case !open:
				b.t.Error("the watch ended without a word")
				return
			case e.Type == watch.Error:
				if err := apierrors.FromObject(e.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
					b.t.Errorf("the watch ended with %v, want 410", err)
				}
				return
			}
		case <-timeout:
			b.t.Error("the watch goes on")
			return
		}
	}
}

// TestADriverMayDieAtEachStep: one after the other dies, each at the next step, and the last brings the run to its end.
func TestADriverMayDieAtEachStep(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(6)
	b.backUp(ours...)
	b.dies("cell-1")
	name := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name
	for _, step := range []failover.StepName{failover.StepPreflight, failover.StepFence, failover.StepFreeze, failover.StepRing, failover.StepPromote, failover.StepEnd} {
		d, ctx, kill := b.driver()
		died := false
		d.Step = func(s failover.StepName) {
			if s == step {
				died = true
				kill()
			}
		}
		if run, err := d.Run(ctx, name); err == nil || !died {
			t.Fatalf("the driver did not die at %s: %v, %+v", step, err, run)
		}
		// Nobody waits for a Lease that is not renewed.
		b.must(b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(t.Context(), v1alpha1.FailoverLease, metav1.DeleteOptions{}))
	}
	run := b.carryOut(name, v1alpha1.FailoverSucceeded)
	b.usable("cell-1", "1", ours...)
	if len(run.Status.Steps) != 6 {
		t.Errorf("steps: %+v", run.Status.Steps)
	}
}

// TestWhatIsNeededNowComesFirst: while nobody promotes, a request for one object brings it back, one for many says
// that it cannot be answered yet, and what was never in the dead cell is served as ever.
func TestWhatIsNeededNowComesFirst(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(6)
	b.backUp(ours...)
	b.dies("cell-1")
	name := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name
	d, ctx, kill := b.driver()
	d.Step = func(s failover.StepName) {
		if s == failover.StepRing {
			kill()
		}
	}
	if _, err := d.Run(ctx, name); err == nil {
		t.Fatal("the driver was not killed")
	}
	b.await("the router to use the ring without the cell", func() bool {
		_, err := b.maps().get(ours[0])
		return err == nil
	})
	if n := b.envelopes("cell-1"); n != len(ours)-1 {
		t.Errorf("%d envelopes are left, want all but one of %d", n, len(ours))
	}
	maps := b.router.CoreV1().ConfigMaps(b.namespace)
	asked := time.Now()
	_, err := maps.Patch(t.Context(), ours[1], "application/merge-patch+json", []byte(`{"data":{"value":"2"}}`), metav1.PatchOptions{})
	b.must(err)
	t.Logf("first write on demand: %s", time.Since(asked))
	if _, err := b.maps().create(ours[2], "9"); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create %s, which exists: %v", ours[2], err)
	}
	b.must(maps.Delete(t.Context(), ours[3], metav1.DeleteOptions{}))
	if _, err := b.maps().create(ours[3], "new"); err != nil {
		t.Errorf("create %s, which was deleted: %v", ours[3], err)
	}
	if _, err := b.maps().create("fresh", "1"); err != nil {
		t.Errorf("create what was never there: %v", err)
	}
	b.must(b.maps().set(others[0], "2"))
	if n := b.envelopes("cell-1"); n != len(ours)-4 {
		t.Errorf("%d envelopes are left, want all but four of %d", n, len(ours))
	}
	noRetry, cancel := contextWithTimeout(t, 10*time.Second)
	defer cancel()
	err = b.router.CoreV1().RESTClient().Get().Namespace(b.namespace).Resource("configmaps").MaxRetries(0).Do(noRetry).Error()
	if status := (apierrors.APIStatus)(nil); !errors.As(err, &status) || status.Status().Code != 503 || !strings.Contains(err.Error(), "cell-1 was failed over") {
		t.Errorf("a list: %v, want 503", err)
	}
	one, err := maps.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + ours[4]})
	if err != nil || len(one.Items) != 1 {
		t.Errorf("a list of one name: %v, %v", one, err)
	}
	b.carryOut(name, v1alpha1.FailoverSucceeded)
	b.usable("cell-1", "1", ours[0], ours[2], ours[4], ours[5])
	b.usable("cell-1", "2", ours[1])
	b.usable("cell-1", "new", ours[3])
}

// TestTwoCellsDieOneAfterTheOther: the second failover finds what the first has brought to its cell, backed up anew.
func TestTwoCellsDieOneAfterTheOther(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(6)
	b.backUp(ours...)
	b.backUp(others...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	all := append(slices.Clone(ours), others...)
	for _, kube := range b.cells { // those of the ring of before are of no use
		b.must(kube.CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell}))
	}
	b.backUp(all...)
	b.publish("cell-2", b.ring().Status.Epoch)
	b.dies("cell-2")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-2"}).Name, v1alpha1.FailoverSucceeded)
	b.usable("cell-2", "1", all...)
	if _, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-3"}, false); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "last one") {
		t.Errorf("failover of the last cell: %v", err)
	}
	// One comes back although the failback of the other one has not ended.
	begun := &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fb-%d", b.ring().Status.Epoch+1)},
		Spec:       v1alpha1.FailoverSpec{Cell: "cell-1", Direction: v1alpha1.DirectionFailback, ConfirmEpoch: b.ring().Status.Epoch},
	}
	_, err := b.client.Failovers().Create(t.Context(), begun, metav1.CreateOptions{})
	b.must(err)
	b.gates["cell-2"].Pass()
	back, err := (&failover.Failback{
		RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-2", Dir: t.TempDir(), Host: "here", Logger: quiet(),
	}).Run(t.Context())
	b.must(err)
	if back.Name != begun.Name+"-2" || back.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Errorf("the failback %s ended %s", back.Name, back.Status.Phase)
	}
}

// TestMoreIsLostThanWasAgreedTo: what was acknowledged between the agreement and the fence is found, and the cell is
// used again.
func TestMoreIsLostThanWasAgreedTo(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(3)
	b.backUp(ours...)
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true})
	d, ctx, _ := b.driver()
	d.Step = func(s failover.StepName) {
		if s == failover.StepPreflight {
			b.must(b.maps().set(ours[0], "2"))
		}
	}
	if _, err := d.Run(ctx, run.Name); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "the fence is taken back") {
		t.Fatalf("it ended with %v, want a refusal", err)
	}
	s := b.ring().Status
	if len(s.Unavailable) > 0 || s.Failover != "" {
		t.Errorf("the ring is not as it was: %+v", s)
	}
	ended, err := b.client.Failovers().Get(t.Context(), run.Name, metav1.GetOptions{})
	b.must(err)
	if ended.Status.Phase != v1alpha1.FailoverRefused || ended.Status.Report.Stale != 1 {
		t.Errorf("record: %+v", ended.Status)
	}
	b.thawed("3", ours[0])
	b.takenBackWhileAway(ours[1])
	again, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-1", Force: true, ConfirmEpoch: b.ring().Status.Epoch, AcceptLoss: 2}, true)
	b.must(err)
	if again.Refused != nil || again.Run != nil {
		t.Errorf("once more: %+v", again)
	}
}

// TestARouterIsAskedAgain: one that does not say at once what it has acknowledged since the agreement is waited for.
func TestARouterIsAskedAgain(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	registered, err := routers.List(t.Context(), b.kube)
	b.must(err)
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true})
	d, ctx, _ := b.driver()
	d.CatchUp = 15 * time.Second
	var deaf atomic.Int32
	d.Step = func(s failover.StepName) {
		switch s {
		case failover.StepPreflight:
			b.must(b.maps().set(ours[0], "2"))
		case failover.StepFreeze:
			deaf.Store(1)
		}
	}
	closed := regexp.MustCompile(`[0-9]+$`)
	d.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			if err != nil || r.Method != http.MethodGet || path.Base(r.URL.Path) != "leases" || deaf.Add(-1) < 0 {
				return response, err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			for _, router := range registered { // of the same length, as nobody listens on port 1
				url := closed.ReplaceAllStringFunc(router.AdminURL, func(port string) string { return fmt.Sprintf("%0*d", len(port), 1) })
				body = bytes.ReplaceAll(body, []byte(router.AdminURL), []byte(url))
			}
			response.Body = io.NopCloser(bytes.NewReader(body))
			return response, err
		})
	})
	if _, err := d.Run(ctx, run.Name); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "the fence is taken back") {
		t.Fatalf("it ended with %v, want a refusal", err)
	}
	if len(registered) == 0 || deaf.Load() >= 0 {
		t.Errorf("routers %v, asked in vain: %d left", registered, deaf.Load())
	}
}

// thawed wants cell-1 to take writes again, and the Cell to say so.
func (b *bed) thawed(value, name string) {
	b.t.Helper()
	b.await("the cell is written to again", func() bool { return b.maps().set(name, value) == nil })
	b.await("the Cell to say so", func() bool {
		cell, err := b.client.Cells().Get(b.t.Context(), "cell-1", metav1.GetOptions{})
		b.must(err)
		return !conditionTrue(cell, v1alpha1.ConditionFrozen)
	})
}

// takenBackWhileAway has cell-1 go away once it is frozen, with more lost than was agreed to. It must not stay frozen when
// it is back.
func (b *bed) takenBackWhileAway(name string) {
	b.t.Helper()
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true, AcceptLoss: 1})
	d, ctx, _ := b.driver()
	d.Step = func(s failover.StepName) {
		switch s {
		case failover.StepPreflight:
			b.must(b.maps().set(name, "2"))
		case failover.StepFreeze:
			b.gates["cell-1"].Vanish()
		}
	}
	if _, err := d.Run(ctx, run.Name); exit.CodeOf(err) != exit.Refused {
		b.t.Fatalf("it ended with %v, want a refusal", err)
	}
	watching, stop := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&failover.Guard{RCP: b.rcp, Logger: quiet()}).Watch(watching) }()
	b.gates["cell-1"].Pass()
	b.thawed("4", name)
	stop()
	b.must(<-ended)
}

// TestACopyComesLate: of a cell that did not answer a moment ago more seems lost than was agreed to. It is looked at once
// more before the fence is taken back.
func TestACopyComesLate(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	d, ctx, _ := b.driver()
	backups := map[string]string{}
	for _, name := range ours {
		_, backups[name] = b.owner(name)
	}
	fenced, sealed := false, false
	d.Step = func(s failover.StepName) {
		if s == failover.StepFence {
			fenced = true
			b.must(b.cells[backups[ours[0]]].CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell}))
		}
	}
	d.Tell = func(f *v1alpha1.Failover) {
		if fenced && !sealed && f.Status.Report.Lost > 0 {
			sealed = true
			for name, backup := range backups {
				b.seal(name, "cell-1", backup)
			}
		}
	}
	ended, err := d.Run(ctx, run.Name)
	b.must(err)
	if !sealed || ended.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Errorf("it ended %s; looked at once more: %v", ended.Status.Phase, sealed)
	}
	b.usable("cell-1", "1", ours...)
}

// TestADeletionComesWhileItsCopyIsWritten: copies of what was deleted are kept out although the backup writes them at that
// moment, unless what it writes is an object that was made anew.
func TestADeletionComesWhileItsCopyIsWritten(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(3)
	b.backUp(ours...)
	touched, anew := ours[0], ours[1]
	for _, name := range []string{touched, anew} {
		b.must(b.router.CoreV1().ConfigMaps(b.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	_, err := configMaps{b, b.cells["cell-1"]}.create(anew, "anew")
	b.must(err)
	change := map[string]func(seen *corev1.Secret) *corev1.Secret{}
	for _, name := range []string{touched, anew} {
		_, backup := b.owner(name)
		secret := b.sealed(anew, "cell-1", backup)
		if name == touched {
			secret.Name = envelope.Name("", "configmaps", b.namespace, touched)
		}
		change[secret.Name] = func(seen *corev1.Secret) *corev1.Secret {
			if name == touched {
				seen.Annotations["touched"] = "yes"
				return seen
			}
			secret.UID, secret.ResourceVersion = seen.UID, seen.ResourceVersion
			return secret
		}
	}
	d, ctx, _ := b.driver()
	var mu sync.Mutex // guards change
	d.WrapCell = func(cell string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				name := path.Base(r.URL.Path)
				if how := change[name]; how != nil && r.Method == http.MethodDelete {
					delete(change, name)
					secrets := b.cells[cell].CoreV1().Secrets(v1alpha1.Namespace)
					seen, err := secrets.Get(r.Context(), name, metav1.GetOptions{})
					if err == nil {
						_, err = secrets.Update(r.Context(), how(seen), metav1.UpdateOptions{})
					}
					if err != nil {
						return nil, err
					}
				}
				return next.RoundTrip(r)
			})
		})
	}
	ended, err := d.Run(ctx, run.Name)
	b.must(err)
	if len(change) > 0 || ended.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Errorf("it ended %s; never deleted: %v", ended.Status.Phase, change)
	}
	b.usable("cell-1", "1", ours[2])
	b.usable("cell-1", "anew", anew)
	if _, err := b.maps().get(touched); !apierrors.IsNotFound(err) {
		t.Errorf("%s, which was deleted: %v, want that it is gone", touched, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAHealthyCell: it is failed over only by force; then it is frozen, and its objects are in one place.
func TestAHealthyCell(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(4)
	b.backUp(ours...)
	started, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch}, false)
	b.must(err)
	if exit.CodeOf(started.Refused) != exit.Refused || !strings.Contains(started.Refused.Error(), "cell cell-1 answers router") {
		t.Errorf("a healthy cell: %v", started.Refused)
	}
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true}).Name, v1alpha1.FailoverSucceeded)
	b.usable("cell-1", "1", ours...)
	if _, err := (configMaps{b, b.cells["cell-1"]}).create("direct", "1"); !apierrors.IsForbidden(err) {
		t.Errorf("a direct write to the cell: %v, want that it is frozen", err)
	}
	cell, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	if !conditionTrue(cell, v1alpha1.ConditionFrozen) {
		t.Errorf("conditions: %+v", cell.Status.Conditions)
	}
}

// TestAReturnedCellIsFrozen on first contact, though another one hangs, and again when it comes back once more without
// its freeze.
func TestAReturnedCellIsFrozen(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	before, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	meta.SetStatusCondition(&before.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFreezeInForce, // of a freeze that is gone
	})
	_, err = b.client.Cells().UpdateStatus(t.Context(), before, metav1.UpdateOptions{})
	b.must(err)
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.gates["cell-2"].Hang()
	ring := b.ring()
	ring.Status.Current, ring.Status.Unavailable = layout("cell-3"), []string{"cell-2", "cell-1"}
	_, err = b.client.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{})
	b.must(err)
	ctx, cancel := contextWithTimeout(t, 2*patience)
	ended := make(chan error, 1)
	b.gates["cell-1"].Pass()
	back := time.Now()
	go func() { ended <- (&failover.Guard{RCP: b.rcp, Logger: quiet()}).Watch(ctx) }()
	defer func() {
		cancel()
		b.must(<-ended)
	}()
	for i := range 2 {
		b.await("the freeze", func() bool {
			name := fmt.Sprintf("direct-%d-%d", i, time.Now().UnixNano())
			_, err := (configMaps{b, b.cells["cell-1"]}).create(name, "1")
			return apierrors.IsForbidden(err)
		})
		if took := time.Since(back); took > 20*time.Second {
			t.Errorf("frozen %s after its return, while another cell hangs", took)
		}
		b.await("the condition", func() bool {
			cell, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
			return err == nil && conditionTrue(cell, v1alpha1.ConditionFrozen)
		})
		b.gates["cell-1"].Vanish()
		b.must(failover.Thaw(t.Context(), b.configs["cell-1"]))
		knocked := time.Now() // the guard has to notice that the cell is away
		b.await("a few knocks that nobody answers", func() bool { return time.Since(knocked) > 2*time.Second })
		b.gates["cell-1"].Pass()
		back = time.Now()
	}
}

// TestADrillChangesNothing and reads every copy to its end.
func TestADrillChangesNothing(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(3)
	b.backUp(ours...)
	_, backup := b.owner(ours[0])
	secrets := b.cells[backup].CoreV1().Secrets(v1alpha1.Namespace)
	list, err := secrets.List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=cell-1"})
	b.must(err)
	list.Items[0].Data["object"] = []byte("damaged")
	_, err = secrets.Update(t.Context(), &list.Items[0], metav1.UpdateOptions{})
	b.must(err)
	before := b.ring()
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Drill: true}).Name, v1alpha1.FailoverSucceeded)
	if got := b.ring(); got.ResourceVersion != before.ResourceVersion {
		t.Errorf("the ring was changed: %+v", got.Status)
	}
	if run.Status.KeptObjects != 1 || run.Status.Kept[0].Reason != "Corrupt" || len(run.Status.Steps) != 4 {
		t.Errorf("record: %+v", run.Status)
	}
	b.drillMakesWay()
}

// drillMakesWay has a drill wait for a router that never acknowledges: it neither stands in for a failover nor blocks one,
// and where nothing else is ordered it ends by itself.
func (b *bed) drillMakesWay() {
	b.t.Helper()
	const silent = "router-silent"
	b.silentRouter(silent, "")
	drill := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Drill: true})
	driver, ctx, _ := b.driver()
	ended := make(chan error, 1)
	go func() {
		_, err := driver.Run(ctx, drill.Name)
		ended <- err
	}()
	b.await("the drill to wait for the router", func() bool {
		run, err := b.client.Failovers().Get(b.t.Context(), drill.Name, metav1.GetOptions{})
		b.must(err)
		return len(run.Status.Steps) == 2
	})
	if _, err := failover.Start(b.t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-2", Drill: true}, true); exit.CodeOf(err) != exit.Refused {
		b.t.Errorf("a second drill beside the first: %v", err)
	}
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true, AcceptLoss: 1, IgnoreRouters: []string{silent}})
	if run.Name == drill.Name {
		b.t.Fatalf("the drill %s stands in for the failover", drill.Name)
	}
	b.carryOut(run.Name, v1alpha1.FailoverSucceeded)
	if err := <-ended; exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "makes way") {
		b.t.Errorf("the drill ended with %v", err)
	}
	if s := b.ring().Status; !slices.Equal(s.Unavailable, []string{"cell-1"}) {
		b.t.Errorf("the cell was not failed over: %+v", s)
	}
	driver, ctx, _ = b.driver()
	driver.DrillPatience = time.Second
	drill = b.order(v1alpha1.FailoverSpec{Cell: "cell-2", Drill: true})
	if _, err := driver.Run(ctx, drill.Name); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), silent) {
		b.t.Errorf("a drill for which a router is silent ended with %v", err)
	}
}
