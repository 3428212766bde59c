package robustness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

const (
	// directPatience is how long a controller waits for its cell.
	directPatience = time.Second
	// directEvery is the time between two of its writes.
	directEvery = 5 * time.Millisecond
	// afterFreeze is how long it goes on once it was refused.
	afterFreeze = time.Second
)

// returned is what was written to a cell after its return, by way of whom.
type returned struct {
	mu     sync.Mutex // guards writes
	writes []history.Op
}

// comeBack has a dead cell come back as it was, with a controller that writes to it and somebody who tries it through
// routers, until it is frozen for good. Then it is emptied by the documented command.
func (d *drill) comeBack(was deceased) {
	d.t.Helper()
	seen := &returned{}
	var back int64
	d.writeDirectly(was, seen, func() {
		if d.plan.zombie {
			back = d.record.Now()
			d.signal(d.box.Dir(was.name)+"/lock", syscall.SIGCONT)
		} else {
			d.box.Start(d.t, was.name)
		}
		d.await(was.name+" to be frozen", func() bool {
			cell, err := d.client.Cells().Get(d.ctx, was.name, metav1.GetOptions{})
			return err == nil && meta.IsStatusConditionTrue(cell.Status.Conditions, v1alpha1.ConditionFrozen)
		})
		sleep(d.ctx, afterFreeze)
	})
	gap := validate.GapOf(was.name, back, seen.writes)
	d.t.Logf("%s %s is back: %s", d.clock(), was.name, gap)
	d.report("writes that a dead cell took", validate.Zombie(was.name, seen.writes))
	d.report("cells that were frozen late", validate.FrozenWithin(gap, *drillGap))
	dir := d.t.TempDir()
	d.command("failback", was.name, "--yes", "--tui", "never", "--dir", dir)
	// The cell may have carried out a deletion that it never answered: it has no version of that then.
	deleted := map[string]bool{}
	for _, op := range d.record.Since(0) {
		if op.Verb == history.Delete && op.Outcome == history.Unknown {
			deleted[op.Key] = true
		}
	}
	var losses []history.Loss
	for _, loss := range d.losses {
		if !deleted[loss.Key] {
			losses = append(losses, loss)
		}
	}
	files := d.readQuarantine(dir)
	d.t.Logf("%s %s has failed back, with %d files", d.clock(), was.name, len(files))
	direct := slices.DeleteFunc(slices.Clone(seen.writes), func(op history.Op) bool { return op.Via != was.name })
	d.report("objects that a failback did not save", validate.Quarantined(was.name, direct, losses, files))
	d.report("objects that a failback does not show as they are", validate.Shown(direct, d.shown(was.name), files))
	d.addCell(was.name)
}

// writeDirectly has a controller write to a cell that was failed over, past the routers, and somebody try it through
// them, while do is done.
func (d *drill) writeDirectly(was deceased, seen *returned, do func()) {
	stopping, stop := context.WithCancel(d.ctx)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	ways := []access{{was.name, dynamicFor(d.t, d.box.Cell(d.t, was.name))}}
	for i, via := range d.through {
		config := d.routerConfig(i)
		config.Host += "/cells/" + was.name
		ways = append(ways, access{via.name + " raw", dynamicFor(d.t, config)})
	}
	keys := slices.Sorted(maps.Keys(was.keys))
	for _, way := range ways {
		writing.Go(func() {
			for n := 0; stopping.Err() == nil; n++ {
				seen.add(d.patchDirectly(way, keys[n*7%len(keys)]))
				sleep(stopping, directEvery)
			}
		})
	}
	do()
}

func (r *returned) add(op history.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, op)
}

// patchDirectly is no request of a client, and not recorded as one: no client may ever see what it wrote.
func (d *drill) patchDirectly(way access, key string) history.Op {
	asking, cancel := context.WithTimeout(d.ctx, directPatience)
	defer cancel()
	op := history.Op{Via: way.name, Key: key, Verb: history.Patch, Mark: fmt.Sprintf("after-%d", d.marks.Add(1)), Call: d.record.Now()}
	_, err := resourceOf(way.client, key).Patch(asking, nameOf(key), types.MergePatchType, encode(markPatch(key, op.Mark, "")), metav1.PatchOptions{})
	op.Outcome, op.Return = history.Unknown, d.record.Now()
	switch {
	case err == nil:
		op.Outcome = history.OK
	case fence.IsFreezeRefusal(err):
		op.Outcome = history.Refused
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), neverSent(err), isUnavailable(err):
		op.Outcome = history.Absent
	}
	if err != nil {
		op.Detail = err.Error()
	}
	return op
}

// readQuarantine reads what a failback saved of the proof's objects.
func (d *drill) readQuarantine(dir string) map[string]history.Saved {
	d.t.Helper()
	out := map[string]history.Saved{}
	for _, kind := range kinds() {
		folder := filepath.Join(dir, kind.GroupResource().String(), namespace)
		entries, err := os.ReadDir(folder)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		d.must(err)
		for _, entry := range entries {
			if name, isDiff := strings.CutSuffix(entry.Name(), ".diff"); isDiff && strings.HasPrefix(name, prefix) {
				key := keyOf(kind, name)
				diff, err := os.ReadFile(filepath.Join(folder, entry.Name()))
				d.must(err)
				out[key] = history.Saved{
					Cell: d.readSaved(key, filepath.Join(folder, name+".cell.yaml")), Diff: string(diff),
					Federation: d.readSaved(key, filepath.Join(folder, name+".federation.yaml")),
				}
			}
		}
	}
	return out
}

// readSaved is nil where there is no file.
func (d *drill) readSaved(key, path string) *history.State {
	d.t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d.must(err)
	object := &unstructured.Unstructured{}
	d.must(yaml.Unmarshal(text, &object.Object))
	state := stateOf(key, object)
	return &state
}

// shown is what the newest failback of a cell says of the proof's objects.
func (d *drill) shown(cell string) history.Shown {
	d.t.Helper()
	list, err := d.client.Failovers().List(d.ctx, metav1.ListOptions{})
	d.must(err)
	var newest *v1alpha1.Failover
	for i := range list.Items {
		run := &list.Items[i]
		if run.Spec.Cell == cell && run.Spec.Direction == v1alpha1.DirectionFailback && (newest == nil || run.Spec.ConfirmEpoch > newest.Spec.ConfirmEpoch) {
			newest = run
		}
	}
	if newest == nil {
		d.t.Fatalf("there is no record of a failback of %s", cell)
	}
	s := &newest.Status
	out := history.Shown{Verdicts: map[string]string{}, All: int64(len(s.Kept)) == s.KeptObjects, Counts: map[string]int{}}
	for _, kept := range s.Kept {
		if key, ours := keyNamed(kept.Object); ours {
			out.Verdicts[key] = kept.Reason
		}
	}
	for _, step := range s.Steps {
		if step.Name != string(failover.StepCompare) {
			continue
		}
		var identical, older, diverged, alone int
		_, err := fmt.Sscanf(step.Message, "%d identical, %d older, %d diverged, %d only here", &identical, &older, &diverged, &alone)
		d.must(err)
		out.Counts[string(failover.Diverged)], out.Counts[string(failover.OnlyHere)] = diverged, alone
	}
	d.t.Logf("%s the failback of %s says: %v of %d objects", d.clock(), cell, out.Counts, s.KeptObjects)
	return out
}

// rebalanceBack moves workloads to the cells that came back, by the documented command.
func (d *drill) rebalanceBack() {
	d.t.Helper()
	d.command("rebalance", "--window", "50", "--yes", "--tui", "never")
	d.t.Logf("%s rebalanced", d.clock())
}
