package rebalance_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	holding "github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// The environment that makes a driver of this test binary, so that a test can suspend or kill it. At the step that stepEnv
// names, of the run or of a unit, it says so, and waits for a line; then it leaves the run to others.
const (
	driveEnv = "REBALANCE_TEST_DRIVE"
	kubeEnv  = "REBALANCE_TEST_KUBECONFIG"
	stepEnv  = "REBALANCE_TEST_STEP"
)

// driveAsChild drives a run to its end.
func driveAsChild(name string) int {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(kubeEnv))
	if err == nil {
		leaving := make(chan struct{})
		halt := sync.OnceFunc(func() { waitForParent(leaving) })
		haltAt := func(step string) {
			if step == os.Getenv(stepEnv) {
				halt()
			}
		}
		d := &rebalance.Driver{RCP: config, Identity: "child", LeaseDuration: lease, Logger: quiet(), Leaving: leaving}
		d.Step = func(s rebalance.StepName) { haltAt(string(s)) }
		d.UnitStep = func(s migration.Step) { haltAt(string(s.Name)) }
		_, err = d.Run(context.Background(), name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// waitForParent says that the step has come, and returns when the parent wants the driver to leave.
func waitForParent(leaving chan<- struct{}) {
	fmt.Println(os.Getenv(stepEnv))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // whoever is killed instead reads nothing
	close(leaving)
}

// child is a driver in a process of its own.
type child struct {
	*exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// child starts a driver in a process of its own, which halts at a step unless that is "".
func (b *bed) child(name, step string) *child {
	b.t.Helper()
	kubeconfig := filepath.Join(b.t.TempDir(), "kubeconfig")
	b.must(os.WriteFile(kubeconfig, sandboxtest.Kubeconfig(b.t, b.rcp), 0o600))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), driveEnv+"="+name, kubeEnv+"="+kubeconfig, stepEnv+"="+step)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	b.must(err)
	in, err := cmd.StdinPipe()
	b.must(err)
	b.must(cmd.Start())
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, unless the test has failed
		_ = cmd.Wait()
	})
	return &child{cmd, in, bufio.NewReader(out)}
}

// childAt is one that has come to a step.
func (b *bed) childAt(name, step string) *child {
	b.t.Helper()
	c := b.child(name, step)
	if _, err := c.out.ReadString('\n'); err != nil {
		b.t.Fatalf("the driver did not come to %s: %v", step, err)
	}
	return c
}

// killAt has a driver in a process of its own come to a step, and ends it there by SIGKILL.
func (b *bed) killAt(name, step string) {
	b.t.Helper()
	c := b.childAt(name, step)
	b.must(c.Process.Kill())
	_ = c.Wait() // which says how it ended
}

// TestASuspendedDriverLeavesAnEndedRunAsItIs suspends a driver until others have ended its run and another one, and a ring
// is wanted that nobody has confirmed.
func TestASuspendedDriverLeavesAnEndedRunAsItIs(t *testing.T) {
	b, before := growing(t, few)
	forget := b.silentRouter()
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	first := b.child(name, "")
	b.await("the first driver to wait for the router", func() bool {
		run := b.rebalance(name)
		return run.Status.Driver == "child" && run.Status.StartTime != nil && run.Status.Phase == v1alpha1.RebalancePreparing
	})
	b.must(first.Process.Signal(syscall.SIGSTOP))
	second := b.driver("second")
	b.start(second, name)
	forget()
	b.finish(second, v1alpha1.RebalanceSucceeded)
	b.settled(before)
	b.want(member(1, 100), member(2, 100), member(3, 100))
	third := b.driver("third")
	b.start(third, b.accepted(v1alpha1.RebalanceSpec{}).Run.Name)
	b.finish(third, v1alpha1.RebalanceSucceeded)
	b.want(member(2, 100))
	ended, ring := b.rebalance(name), b.ring()

	b.must(first.Process.Signal(syscall.SIGCONT))
	if err := first.Wait(); err != nil {
		t.Errorf("the driver that was suspended ended with %v", err)
	}
	if diff := cmp.Diff(ended, b.rebalance(name)); diff != "" {
		t.Errorf("the record of the run (-ended +now):\n%s", diff)
	}
	if now := b.ring(); now.Status.Epoch != ring.Status.Epoch || now.Status.Target != nil {
		t.Errorf("the ring went from epoch %d to %d, target %v: nobody asked for that", ring.Status.Epoch, now.Status.Epoch, now.Status.Target)
	}
}

// TestAnEndThatAnotherDriverWroteStays where a driver is about to write its own.
func TestAnEndThatAnotherDriverWroteStays(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("it")
	var ended *v1alpha1.Rebalance
	finished := false
	d.Step = func(s rebalance.StepName) {
		finished = finished || s == rebalance.Finished
		if s != rebalance.StableAcknowledged {
			return
		}
		b.must(retry.RetryOnConflict(retry.DefaultRetry, func() (err error) {
			run, now := b.rebalance(name), metav1.Now()
			run.Status.Phase, run.Status.Driver, run.Status.CompletionTime = v1alpha1.RebalanceAborted, "other", &now
			ended, err = b.client.Rebalances().UpdateStatus(t.Context(), run, metav1.UpdateOptions{})
			return err
		}))
	}
	b.start(d, name)
	run := b.finish(d, v1alpha1.RebalanceAborted)
	b.settled(before)
	if diff := cmp.Diff(ended, run); diff != "" {
		t.Errorf("the record of the run (-ended +now):\n%s", diff)
	}
	if finished || slices.Contains(phases(d), v1alpha1.RebalanceSucceeded) {
		t.Errorf("finished %t, and told the phases %v: another driver has ended the run", finished, phases(d))
	}
}

// TestASuspendedDriverThatNobodyFollowsOpensWhatItHasMarked, and leaves. It was suspended for longer than its Lease lasts.
func TestASuspendedDriverThatNobodyFollowsOpensWhatItHasMarked(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	first := b.childAt(name, string(migration.Marked))
	if len(b.closed()) == 0 {
		t.Error("a driver that has marked units left nothing closed")
	}
	b.must(first.Process.Signal(syscall.SIGSTOP))
	clock := &holding.Clock{}
	b.await("the Lease to be over", func() bool {
		holder, err := rebalance.Holder(t.Context(), b.kube, clock.Now)
		return err == nil && holder == ""
	})
	b.must(first.Process.Signal(syscall.SIGCONT))
	_, err := io.WriteString(first.in, "\n")
	b.must(err)
	if err := first.Wait(); err == nil {
		t.Error("the driver was not to end the run")
	}
	if closed := b.closed(); len(closed) > 0 {
		t.Errorf("%v refuse writes, and nobody is there to move them", closed)
	}
	next := b.driver("next")
	b.start(next, name)
	b.finish(next, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// TestARunThatHasBegunDoesNotBeginAgain has the Ring in nobody's hands, and a record that says that its run has begun.
func TestARunThatHasBegunDoesNotBeginAgain(t *testing.T) {
	b, _ := growing(t, 1)
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run
	now := metav1.Now()
	run.Status.Phase, run.Status.StartTime = v1alpha1.RebalanceMoving, &now
	_, err := b.client.Rebalances().UpdateStatus(t.Context(), run, metav1.UpdateOptions{})
	b.must(err)
	epoch := b.ring().Status.Epoch
	_, err = b.driver("it").Run(t.Context(), run.Name)
	wantRefusal(t, err, "has begun before")
	b.must(rebalance.Abort(t.Context(), b.client, run.Name))
	d := b.driver("it")
	b.start(d, run.Name)
	b.finish(d, v1alpha1.RebalanceAborted)
	if now := b.ring().Status.Epoch; now != epoch {
		t.Errorf("the ring went from epoch %d to %d", epoch, now)
	}
}

// take has somebody else hold the Lease, or nobody any more after that one.
func (b *bed) take(name, holder string) {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		l, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(b.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		transitions, now := *l.Spec.LeaseTransitions+1, metav1.NowMicro()
		l.Spec.HolderIdentity, l.Spec.LeaseTransitions, l.Spec.RenewTime = &holder, &transitions, &now
		_, err = b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Update(b.t.Context(), l, metav1.UpdateOptions{})
		return err
	}))
}

// TestALeaseThatSomebodyElseHeldIsLost, whether that one holds it still or has given it up, and is not given up by whoever
// does not hold it.
func TestALeaseThatSomebodyElseHeldIsLost(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	for name, holder := range map[string]string{"test-taken": "other", "test-given-up": ""} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := holding.Hold(ctx, holding.Config{Kube: b.kube, Name: name, Identity: "it", Duration: lease}, func(ctx context.Context) error {
				b.take(name, holder)
				<-ctx.Done()
				return context.Cause(ctx)
			})
			if !errors.Is(err, holding.ErrLost) {
				t.Errorf("the work ended with %v; want %v", err, holding.ErrLost)
			}
		})
	}
	t.Run("given up by another", func(t *testing.T) {
		const name = "test-not-given-up"
		b.must(holding.Hold(t.Context(), holding.Config{Kube: b.kube, Name: name, Identity: "it", Duration: lease}, func(context.Context) error {
			b.take(name, "other")
			return nil
		}))
		l, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		b.must(err)
		if *l.Spec.HolderIdentity != "other" {
			t.Errorf("the lease is held by %q; want the one who took it", *l.Spec.HolderIdentity)
		}
	})
}
