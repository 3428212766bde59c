package rebalance_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// TestWithoutATerminal plays a run in a script: what is asked, what is refused, lines, and what comes twice.
func TestWithoutATerminal(t *testing.T) {
	b := newBed(t)
	for _, window := range []string{"0", "-1", "1000000000"} {
		_, stderr := b.must(t, 2, "rebalance", "--window", window)
		wantText(t, stderr, "error: window is "+window+"; it must be 1 to 10000 units", "hint: ")
	}
	b.must(t, 4, "rebalance", "pause")
	b.must(t, 1, "rebalance", "--attach")
	stdout, _ := b.must(t, 0, "rebalance", "--window", "5")
	wantText(t, stdout, "nothing to do")
	b.change(t)

	_, stderr := b.must(t, 7, "rebalance", "--window", "5")
	wantText(t, stderr, "there is no terminal to ask", "cell-2", "--yes")
	planned, _ := b.must(t, 0, "rebalance", "--dry-run", "-o", "name")
	units := strings.Fields(planned)
	if len(units) < items/10 || !strings.HasPrefix(units[0], namespace+"/") {
		t.Fatalf("the plan has %d units: %s", len(units), planned)
	}
	stdout, stderr = b.must(t, 0, "rebalance", "--dry-run")
	wantText(t, stdout, "UNIT", "(dry run)", units[0])
	wantText(t, stderr, "next: kubectl cell rebalance")

	// One part of it first: it is refused where it chooses nothing, and ends when that part has moved.
	_, stderr = b.must(t, 4, "rebalance", "-n", "elsewhere", "--yes")
	wantText(t, stderr, "is one of -n elsewhere")
	b.must(t, 2, "rebalance", "-l", "a ! b", "--yes")
	b.label(t, units[:3])
	stdout, _ = b.must(t, 0, "rebalance", "-n", namespace, "-l", "part=first", "--dry-run")
	wantText(t, stdout, fmt.Sprintf("would move 3 of %d units", len(units)))
	b.must(t, 2, "rebalance", "--reason", strings.Repeat("长", 1025))
	stdout, stderr = b.must(t, 0, "rebalance", "-n", namespace, "-l", "part=first", "--window", "1", "--rate", "1", "--yes", "--reason", "INC-7: room")
	wantText(t, stdout, "migrated", fmt.Sprintf("all units of -n %s -l part=first have moved; %d others wait", namespace, len(units)-3))
	wantText(t, stderr, "it is paused; next: kubectl cell rebalance resume")
	stdout, _ = b.must(t, 0, "rebalance", "status")
	wantText(t, stdout, "Paused", "3 of ", "! all units of -n")
	b.must(t, 2, "rebalance", "resume", "--all", "-n", namespace)

	// It is left after two seconds; then it is looked at, paused, made to step, and brought to its end.
	b.must(t, 0, "rebalance", "resume")
	b.must(t, 0, "rebalance", "pause")
	b.must(t, 0, "rebalance", "resume", "--all")
	_, stderr = b.must(t, 5, "rebalance", "--window", "1", "--rate", "1", "--yes", "--timeout", "2s")
	wantText(t, stderr, "is left", "has not ended after 2s", "hint: kubectl cell rebalance --attach", "undo: kubectl cell rebalance abort")
	b.wantDry(t, []string{"pause"}, " units in flight finish, and no others begin", `{"spec":{"paused":true,"step":null}}`)
	stdout, stderr = b.must(t, 0, "rebalance", "pause")
	wantText(t, stdout, "pauses")
	wantText(t, stderr, "undo: kubectl cell rebalance resume")
	stdout, _ = b.must(t, 0, "rebalance", "pause")
	wantText(t, stdout, "is paused already")
	b.await(t, "the run to stand", func(run *v1alpha1.Rebalance) bool { return run.Status.Phase == v1alpha1.RebalancePaused })
	stdout, _ = b.must(t, 0, "rebalance", "status")
	wantText(t, stdout, "Paused", "cell-1", "next: kubectl cell rebalance resume")
	b.wantDry(t, []string{"resume"}, "goes on; what failed is tried again", `{"spec":{"paused":false,"step":null}}`)
	b.wantDry(t, []string{"resume", "-l", "part=first"}, "goes on with the units of -l part=first; what failed is tried again", `{"spec":{"limit":{"namespaces":null,"selector":"part=first"},"paused":false,"step":null}}`)
	b.wantDry(t, []string{"step", "2"}, "moves 2 windows of 1 units, then pauses", `{"spec":{"paused":false,"step":2}}`)
	b.must(t, 2, "rebalance", "step", "20000", "--dry-run")
	_, stderr = b.must(t, 0, "rebalance", "step", "2")
	wantText(t, stderr, "undo: kubectl cell rebalance pause")
	b.await(t, "the steps to end", func(run *v1alpha1.Rebalance) bool { return run.Spec.Paused && run.Spec.Step == 0 })
	b.must(t, 2, "rebalance", "step", "none")
	b.must(t, 7, "rebalance", "abort")
	b.wantDry(t, []string{"abort"}, " units that have moved walk back, and the current ring stays", `{"spec":{"abort":true,"limit":null,"paused":false,"step":null}}`)
	b.must(t, 0, "rebalance", "resume")
	stdout, stderr = b.must(t, 0, "rebalance", "--rate", "0", "--window", "50", "--reason", "another")
	wantText(t, stderr, "has not ended", "--reason is for a new run", "undo, at any time: kubectl cell weight cell-2 ")
	wantText(t, stdout, "Succeeded")
	stdout, _ = b.must(t, 0, "history")
	wantText(t, stdout, "NAME", "Succeeded", "BY", admin)
	stdout, _ = b.must(t, 0, "history", "-o", "wide")
	wantText(t, stdout, "CHANGES", "REASON", "cell-2 ", "INC-7: room")
	stdout, _ = b.must(t, 0, "history", "-o", "json")
	wantText(t, stdout, `"by": "`+admin+`"`, `"reason": "INC-7: room"`)
}

// TestARunThatPausesItselfEndsTheCommand: nobody would see it without a terminal. It goes on when it is resumed, and is not said
// to be paused then, although nobody drives it yet.
func TestARunThatPausesItselfEndsTheCommand(t *testing.T) {
	b := newBed(t)
	b.change(t)
	before := b.homes(t)
	third, makeRoom := b.squatThird(t, before)
	goOn := b.alone(t) // or it takes the paused run over, which shows for a moment
	_, stderr := b.must(t, 6, "rebalance", "--window", "5", "--max-failures", "0", "--yes")
	name := b.unfinished(t).Name
	wantText(t, stderr, "rebalance "+name+" has paused itself: 1 units failed and maxFailures is 0",
		"hint: kubectl cell rebalance status   # says what failed; then: kubectl cell rebalance resume", "undo: kubectl cell rebalance abort")
	stdout, _ := b.must(t, 0, "rebalance", "status")
	const stopped = "! 1 units failed and maxFailures is 0; the run is paused until it is resumed"
	wantText(t, stdout, "Paused", third, stopped)
	makeRoom()
	b.whole(t)
	b.must(t, 0, "rebalance", "resume")
	if stdout, _ = b.must(t, 0, "rebalance", "status"); strings.Contains(stdout, stopped) {
		t.Errorf("a run that was resumed, and that nobody drives yet, is said to be paused:\n%s", stdout)
	}
	goOn()
	b.finish(t, v1alpha1.RebalanceSucceeded)
}

// wantDry has a subcommand for the run say what it would do and write, and wants nothing of the run's spec to be changed.
func (b *bed) wantDry(t *testing.T, args []string, says, patch string) {
	t.Helper()
	before := b.unfinished(t)
	args = append(append([]string{"rebalance"}, args...), "--dry-run")
	stdout, stderr := b.must(t, 0, args...)
	wantText(t, stdout, says+" (dry run)\n", "would be written: "+patch+"\n")
	if strings.Contains(stderr, "undo") {
		t.Errorf("a dry run says how to undo it: %s", stderr)
	}
	stdout, _ = b.must(t, 0, append(args, "-o", "json")...)
	wantText(t, stdout, `"dryRun": true`)
	if after := b.unfinished(t); after.Generation != before.Generation || !equality.Semantic.DeepEqual(after.Spec, before.Spec) {
		t.Errorf("%q has changed the run from %+v to %+v", args, before.Spec, after.Spec)
	}
}

// label gives objects, by their keys, the label part=first.
func (b *bed) label(t *testing.T, keys []string) {
	t.Helper()
	for _, key := range keys {
		_, err := b.kube.CoreV1().ConfigMaps(namespace).Patch(t.Context(), strings.TrimPrefix(key, namespace+"/"), types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"part":"first"}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// TestASignalLeavesNothingHalfMoved ends a driver by each signal: it finishes what it began, and ends with 130.
// Each line of its output is an event, numbered from 1.
func TestASignalLeavesNothingHalfMoved(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			b := newBed(t)
			b.change(t)
			goOn := b.alone(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, b.binary, "rebalance", "--window", "2", "--yes", "-o", "json")
			cmd.Env = append(os.Environ(), b.environ...)
			var problems bytes.Buffer
			cmd.Stderr = &problems
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			moved, seq, signalled := map[string]bool{}, int64(0), false
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				var e rebalance.Event
				if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
					t.Fatalf("%v: %s", err, lines.Text())
				}
				if seq++; e.Seq != seq || e.Time.IsZero() || e.Run == "" {
					t.Errorf("event %d: %+v", seq, e)
				}
				if e.Type == rebalance.EventMoved {
					moved[e.Unit.Key] = true
				}
				if len(moved) == 3 && !signalled { // a second one would end it at once
					signalled = true
					_ = cmd.Process.Signal(signal)
				}
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d; want 130\n%s", code, problems.String())
			}
			wantText(t, problems.String(), "is left", "next: kubectl cell rebalance")
			if strings.Contains(problems.String(), "still in flight") {
				t.Errorf("units were left in flight:\n%s", problems.String())
			}
			b.whole(t)
			goOn()
			b.finish(t, v1alpha1.RebalanceSucceeded)
		})
	}
}
