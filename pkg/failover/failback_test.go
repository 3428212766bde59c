package failover_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// TestACellComesBack: what it has alone, was lost, or wrote after it was fenced off, is saved; all of it goes; then it is a member
// like any other, and has what the federation has. Whoever carries that out may die at each step.
func TestACellComesBack(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(5)
	lost := ours[2]
	b.must(b.maps().set(lost, "unsaved"))
	b.backUp(slices.DeleteFunc(slices.Clone(ours), func(name string) bool { return name == lost })...)
	direct := configMaps{b, b.cells["cell-1"]}
	held, err := direct.get(ours[3])
	b.must(err)
	held.Finalizers = []string{"example.com/hold"}
	_, err = b.cells["cell-1"].CoreV1().ConfigMaps(b.namespace).Update(t.Context(), held, metav1.UpdateOptions{})
	b.must(err)
	b.backUp(ours[3])
	b.interrupted(lost, others)
	forgotten := ours[4]
	b.must(direct.set(forgotten, "forgotten")) // as if a router had acknowledged it that died as well
	ended := b.namespace + "-ended"            // while the cell is away
	_, err = b.cells["cell-1"].CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: ended, Annotations: map[string]string{v1alpha1.AnnotationReplicatedFrom: "2b4f0e3c-0000-4000-8000-000000000000"},
	}}, metav1.CreateOptions{})
	b.must(err)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 1}).Name, v1alpha1.FailoverSucceeded)
	_, err = b.maps().create(lost, "federation") // what the cell has under that name was in no copy
	b.must(err)
	b.must(b.maps().set(ours[0], "federation"))
	b.must(b.maps().set(ours[1], "federation"))
	b.must(direct.set(ours[1], "cell"))
	alone, err := direct.create("alone", "cell")
	b.must(err)
	hangs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hangs", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: alone.Name, UID: alone.UID},
	}}, Data: map[string]string{"value": "cell"}}
	_, err = b.cells["cell-1"].CoreV1().ConfigMaps(b.namespace).Create(t.Context(), hangs, metav1.CreateOptions{})
	b.must(err)
	dir := t.TempDir()
	failback := func() *failover.Failback {
		return &failover.Failback{
			RCP: b.rcp, Identity: fmt.Sprint("it-", time.Now().UnixNano()), LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
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
	differ := []string{"alone OnlyHere", "hangs OnlyHere", "tombstone OnlyHere", "incoming OnlyHere", ours[1] + " Diverged", forgotten + " Diverged", lost + " Diverged"}
	slices.Sort(differ)
	if got := b.kept(seen); !slices.Equal(got, differ) {
		t.Errorf("a dry run finds %v, want %v", got, differ)
	}
	for _, step := range []failover.StepName{failover.StepCompare, failover.StepAdmit, failover.StepThaw, failover.StepJoin} {
		b.killedAt(step, func(ctx context.Context, rcp *rest.Config, took func(failover.StepName)) error {
			f := failback()
			f.RCP, f.Step = rcp, took
			_, err := f.Run(ctx)
			return err
		})
		if step == failover.StepAdmit {
			b.onlyLeft("cell-1", "alone")
		}
		b.unheld()
	}
	b.saved(dir, ours[1], "cell", "federation")
	b.saved(dir, lost, "unsaved", "federation")
	b.saved(dir, forgotten, "forgotten", "1")
	b.saved(dir, "alone", "cell", "")
	b.saved(dir, "hangs", "cell", "")
	b.saved(dir, "tombstone", "last", "")
	b.saved(dir, "incoming", "last", "")
	b.rejoined(append(slices.Clone(ours), others...), ours)
	if ns, err := b.cells["cell-1"].CoreV1().Namespaces().Get(t.Context(), ended, metav1.GetOptions{}); !apierrors.IsNotFound(err) && (err != nil || ns.DeletionTimestamp == nil) {
		t.Errorf("the copy of a namespace that is none any more: %v, %v; want it gone", ns, err)
	}
	// The last one died before it could say so, and the cell has objects again.
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()
	run, err := failback().Run(ctx)
	b.must(err)
	if run.Status.Phase != v1alpha1.FailoverSucceeded || !strings.HasPrefix(run.Status.Quarantine, "here:") {
		t.Errorf("record: %+v", run.Status)
	}
}

// interrupted leaves in cell-1 what a rebalance has in hand: an object that is about to be moved away, the tombstones and
// incoming copies of two others, which count elsewhere, and those of objects that nobody else has.
func (b *bed) interrupted(leaving string, others []string) {
	b.t.Helper()
	mover := kubeOf(b.t, fence.AsMover(b.configs["cell-1"])).CoreV1().ConfigMaps(b.namespace)
	_, err := mover.Patch(b.t.Context(), leaving, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, v1alpha1.LabelRebalanceStatus, v1alpha1.Migrating), metav1.PatchOptions{})
	b.must(err)
	counts, err := b.maps().get(others[1])
	b.must(err)
	for name, status := range map[string]v1alpha1.RebalanceStatus{
		others[0]: v1alpha1.Migrated, "tombstone": v1alpha1.Migrated, others[1]: v1alpha1.Incoming, "incoming": v1alpha1.Incoming,
	} {
		marked := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}}}
		marked.Data = map[string]string{"value": "last"}
		if name == others[1] {
			marked.Annotations = map[string]string{v1alpha1.AnnotationFromUID: string(counts.UID)}
		}
		_, err := mover.Create(b.t.Context(), marked, metav1.CreateOptions{})
		b.must(err)
	}
}

// onlyLeft wants a cell to have no config map but one: who owns another waits for the garbage collector, and nobody else.
func (b *bed) onlyLeft(cell, owner string) {
	b.t.Helper()
	left, err := b.cells[cell].CoreV1().ConfigMaps(b.namespace).List(b.t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	b.must(err)
	if len(left.Items) != 1 || left.Items[0].Name != owner || left.Items[0].DeletionTimestamp == nil {
		b.t.Errorf("left in %s are %v; want %s alone, in deletion", cell, left.Items, owner)
	}
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
	for _, name := range append(slices.Clone(ours), "alone", "hangs", "tombstone", "incoming") {
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
	obj := func(value, version string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"value": value}}}
		o.SetName("x")
		o.SetUID("u-1")
		o.SetResourceVersion(version)
		return o
	}
	from := func(value, cell, uid, version string) *unstructured.Unstructured {
		o := obj(value, "77")
		o.SetUID("u-2")
		o.SetAnnotations(map[string]string{
			v1alpha1.AnnotationPlacementEpoch: "7", v1alpha1.AnnotationPromotedFrom: migration.Origin(cell, types.UID(uid), version),
		})
		return o
	}
	for name, test := range map[string]struct {
		there *unstructured.Unstructured
		want  failover.Verdict
	}{
		"the same":                           {obj("1", "5"), failover.Identical},
		"the same but for our marks":         {from("1", "cell-1", "u-1", "9"), failover.Identical},
		"brought back, and written to since": {from("2", "cell-1", "u-1", "10"), failover.Older},
		"brought back from an earlier state": {from("2", "cell-1", "u-1", "9"), failover.Diverged},
		"brought back from another object":   {from("2", "cell-1", "u-0", "10"), failover.Diverged},
		"brought back from another cell":     {from("2", "cell-3", "u-1", "10"), failover.Diverged},
		"nobody knows what it was made from": {obj("2", "10"), failover.Diverged},
		"the federation has none":            {nil, failover.OnlyHere},
	} {
		t.Run(name, func(t *testing.T) {
			if got := failover.Compare("cell-1", obj("1", "10"), test.there); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
