package failover_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// TestACellComesBack: what it has alone, or wrote after it was fenced off, is saved; all of it goes; then it is a member
// like any other, and has what the federation has. Whoever carries that out may die at each step.
func TestACellComesBack(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(5)
	b.backUp(ours...)
	direct := configMaps{b, b.cells["cell-1"]}
	held, err := direct.get(ours[3])
	b.must(err)
	held.Finalizers = []string{"example.com/hold"}
	_, err = b.cells["cell-1"].CoreV1().ConfigMaps(b.namespace).Update(t.Context(), held, metav1.UpdateOptions{})
	b.must(err)
	b.backUp(ours[3])
	b.dies("cell-1")
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	// Times in managed fields are in whole seconds.
	b.await("the second after the fence", func() bool { return time.Since(run.Status.StartTime.Time) > 2*time.Second })
	b.must(b.maps().set(ours[0], "federation"))
	b.must(b.maps().set(ours[1], "federation"))
	b.must(direct.set(ours[1], "cell"))
	_, err = direct.create("alone", "cell")
	b.must(err)
	dir := t.TempDir()
	failback := func() *failover.Failback {
		return &failover.Failback{
			RCP: b.rcp, Identity: fmt.Sprint("it-", time.Now().UnixNano()), LeaseDuration: lease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
		}
	}
	if _, err := failback().Run(t.Context()); exit.CodeOf(err) != exit.Refused {
		t.Fatalf("while the cell is away: %v", err)
	}
	b.gates["cell-1"].Pass()
	before := failback()
	before.DryRun = true
	seen, err := before.Run(t.Context())
	b.must(err)
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("a dry run saved %v", entries)
	}
	if got := b.kept(seen); !slices.Equal(got, []string{"alone OnlyHere", ours[1] + " Diverged"}) {
		t.Errorf("a dry run finds %v", got)
	}
	for _, step := range []failover.StepName{failover.StepCompare, failover.StepAdmit, failover.StepThaw} {
		f := failback()
		ctx, kill := contextWithTimeout(t, patience)
		f.Step = func(s failover.StepName) {
			if s == step {
				kill()
			}
		}
		if _, err := f.Run(ctx); err == nil {
			t.Fatalf("it was not killed at %s", step)
		}
		kill()
		err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(t.Context(), v1alpha1.FailoverLease, metav1.DeleteOptions{})
		if !apierrors.IsNotFound(err) {
			b.must(err)
		}
	}
	ended, err := failback().Run(t.Context())
	b.must(err)
	if ended.Status.Phase != v1alpha1.FailoverSucceeded || !strings.HasPrefix(ended.Status.Quarantine, "here:") {
		t.Errorf("record: %+v", ended.Status)
	}
	b.saved(dir, ours[1], "cell", "federation")
	b.saved(dir, "alone", "cell", "")
	b.rejoined(append(slices.Clone(ours), others...), ours)
}

// kept are the objects of this test that a run names.
func (b *bed) kept(run *v1alpha1.Failover) []string {
	var out []string
	for _, k := range run.Status.Kept {
		if !strings.Contains(k.Object, "/"+b.namespace+"/") {
			continue
		}
		out = append(out, k.Object[strings.LastIndex(k.Object, "/")+1:]+" "+k.Reason)
	}
	slices.Sort(out)
	return out
}

// saved wants both versions of a config map in the quarantine, and the diff.
func (b *bed) saved(dir, name, cell, federation string) {
	b.t.Helper()
	stem := filepath.Join(dir, "configmaps", b.namespace, name)
	for ending, want := range map[string]string{".cell.yaml": cell, ".federation.yaml": federation} {
		text, err := os.ReadFile(stem + ending)
		if want == "" {
			if err == nil {
				b.t.Errorf("%s%s is there", name, ending)
			}
			continue
		}
		b.must(err)
		obj := &unstructured.Unstructured{}
		b.must(yaml.Unmarshal(text, &obj.Object))
		if got, _, _ := unstructured.NestedString(obj.Object, "data", "value"); got != want {
			b.t.Errorf("%s%s has %q, want %q", name, ending, got, want)
		}
	}
	diff, err := os.ReadFile(stem + ".diff")
	b.must(err)
	if !strings.Contains(string(diff), "+  value: "+cell) {
		b.t.Errorf("diff of %s:\n%s", name, diff)
	}
}

// rejoined wants the cell to be empty and in the wanted ring, and after a rebalance to have what it had.
func (b *bed) rejoined(all, ours []string) {
	b.t.Helper()
	for _, name := range append(slices.Clone(ours), "alone") {
		if _, err := (configMaps{b, b.cells["cell-1"]}).get(name); !apierrors.IsNotFound(err) {
			b.t.Errorf("%s in the cell: %v, want that it is gone", name, err)
		}
	}
	ring := b.ring()
	if len(ring.Status.Unavailable) > 0 || len(ring.Spec.Members) != 3 || len(ring.Status.Current.Members) != 2 {
		b.t.Errorf("ring: %+v, wanted %+v", ring.Status, ring.Spec.Members)
	}
	started, err := rebalance.Start(b.t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 10}})
	b.must(err)
	ctx, cancel := contextWithTimeout(b.t.(*testing.T), patience)
	defer cancel()
	_, err = (&rebalance.Driver{RCP: b.rcp, Identity: "mover", LeaseDuration: lease, Logger: quiet()}).Run(ctx, started.Run.Name)
	b.must(err)
	for _, name := range all {
		if err := b.maps().set(name, "again"); err != nil {
			b.t.Errorf("write %s: %v", name, err)
		}
	}
	for _, name := range ours {
		if cm, err := (configMaps{b, b.cells["cell-1"]}).get(name); err != nil || cm.Data["value"] != "again" {
			b.t.Errorf("%s is not in the cell again: %v", name, err)
		}
	}
}

func TestCompare(t *testing.T) {
	fenced := noon
	obj := func(value string, changed time.Time) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"value": value}}}
		o.SetName("x")
		o.SetUID(types.UID("u-" + value))
		at := metav1.NewTime(changed)
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "m", Time: &at}})
		return o
	}
	undated := obj("1", noon)
	undated.SetManagedFields(nil)
	marked := obj("1", noon)
	marked.SetAnnotations(map[string]string{v1alpha1.AnnotationPlacementEpoch: "7"})
	for name, test := range map[string]struct {
		here, there *unstructured.Unstructured
		stale       bool
		want        failover.Verdict
	}{
		"the same":                   {obj("1", noon), obj("1", noon.Add(time.Hour)), false, failover.Identical},
		"the same but for our marks": {obj("1", noon), marked, false, failover.Identical},
		"written before the fence":   {obj("1", noon.Add(-time.Minute)), obj("2", noon.Add(time.Hour)), false, failover.Older},
		"a write that was not saved": {obj("1", noon.Add(-time.Minute)), obj("2", noon.Add(time.Hour)), true, failover.Diverged},
		"written after the fence":    {obj("1", noon.Add(time.Minute)), obj("2", noon), false, failover.Diverged},
		"written in the same second": {obj("1", noon), obj("2", noon), false, failover.Diverged},
		"written nobody knows when":  {undated, obj("2", noon), false, failover.Diverged},
		"the federation has none":    {obj("1", noon.Add(-time.Minute)), nil, false, failover.OnlyHere},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failover.Compare(test.here, test.there, fenced, test.stale); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
