package verify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// planted is what a test has put into the federation, and wants to be found.
type planted struct {
	class verify.Class
	name  string // of the object, as far as it is known
	cell  string
	safe  bool
}

// plant is one thing to be found.
type plant struct {
	name string
	in   func(*bed) planted
}

func plants() []plant {
	return []plant{
		{"misplaced", plantMisplaced},
		{"misplaced and owned", plantOwned},
		{"duplicate that is the same", plantTwin},
		{"duplicate that differs", plantRival},
		{"orphaned envelope", plantOrphanedEnvelope},
		{"envelope of elsewhere", plantEnvelopeElsewhere},
		{"orphaned dependent", plantOrphanedDependent},
		{"envelope that cannot be read", plantUnreadable},
		{"stale envelope", plantStaleEnvelope},
		{"stale tombstone", plantTombstone},
		{"stale incoming copy", plantIncoming},
		{"incoming copy that is all there is", plantLastCopy},
		{"stuck before the flip", func(b *bed) planted { return plantStuck(b, migration.Marked) }},
		{"stuck with a copy", func(b *bed) planted { return plantStuck(b, migration.Created) }},
		{"stuck after the flip", func(b *bed) planted { return plantStuck(b, migration.Flipped) }},
		{"stuck on the way to a cell that has left the ring", plantStuckTowardsNobody},
		{"unprotected", plantUnprotected},
		{"unprotected by an envelope that is immutable and damaged", plantImmutable},
	}
}

// eachClass plants one thing of each kind, finds exactly it, mends what is safe, and is clean then.
func eachClass(t *testing.T, all []plant) {
	t.Helper()
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			b := newBed(t)
			b.protected("cell-1", "bystander")
			b.clean()
			want := p.in(b)
			if found := b.run(); !b.exactly(found, want) {
				return
			}
			mended := b.repair()
			if b.exactly(mended, want) && mended.Findings[0].Repaired != want.safe {
				t.Fatalf("repaired %v, want %v: %s", mended.Findings[0].Repaired, want.safe, mended.Findings[0].Problem)
			}
			if want.safe {
				b.clean()
			} else {
				b.exactly(b.run(), want)
			}
		})
	}
}

func TestEachClass(t *testing.T) { eachClass(t, plants()) }

// TestEachClassInCellsWithoutAFence finds and mends the same where no cell can have one. The dependent whose owner is gone is
// kept there by a freeze, which such a cell cannot have either.
func TestEachClassInCellsWithoutAFence(t *testing.T) {
	b := newBed(t)
	for name, config := range b.configs {
		sandboxtest.Reach(t, b.rcp, name, config, sandboxtest.Unfenced(t, config))
	}
	eachClass(t, slices.DeleteFunc(plants(), func(p plant) bool { return p.name == "orphaned dependent" }))
}

func (b *bed) exactly(r *verify.Result, want planted) bool {
	b.t.Helper()
	if len(r.Findings) != 1 {
		b.t.Errorf("findings are %s; want one, %+v", describe(r.Findings), want)
		return false
	}
	f := r.Findings[0]
	if f.Class != want.class || f.Cell != want.cell || f.Safe != want.safe || !strings.HasSuffix(f.Object, want.name) || f.Fix == "" || f.Message == "" || r.Counts[f.Class] != 1 {
		b.t.Errorf("found %s; want %+v", describe(r.Findings), want)
		return false
	}
	return true
}

func plantMisplaced(b *bed) planted {
	b.neverBackedUp()
	name, _, other := b.at("cell-1", "x")
	b.create(other, name, "1")
	b.t.Cleanup(func() { b.wantAt("cell-1", name, "1") })
	return planted{verify.Misplaced, name, other, true}
}

func plantOwned(b *bed) planted {
	name, _, other := b.at("cell-1", "x")
	owner, _, _ := b.protected(other, "owner")
	b.create(other, name, "1", func(cm *corev1.ConfigMap) {
		cm.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
	})
	return planted{verify.Misplaced, name, other, false}
}

func plantTwin(b *bed) planted {
	cm, _, other := b.protected("cell-1", "x")
	b.create(other, cm.Name, "1")
	return planted{verify.Duplicate, cm.Name, other, true}
}

func plantRival(b *bed) planted {
	cm, _, other := b.protected("cell-1", "x")
	b.create(other, cm.Name, "2")
	return planted{verify.Duplicate, cm.Name, other, false}
}

func plantOrphanedEnvelope(b *bed) planted {
	cm, backup, _ := b.protected("cell-1", "x")
	b.must(b.configMaps("cell-1").Delete(b.t.Context(), cm.Name, metav1.DeleteOptions{}))
	return planted{verify.Orphaned, cm.Name, backup, true}
}

func plantEnvelopeElsewhere(b *bed) planted {
	cm, _, other := b.protected("cell-1", "x")
	b.seal(cm, "cell-1", other)
	return planted{verify.Orphaned, cm.Name, other, true}
}

// plantOrphanedDependent freezes the cell, whose garbage collector would delete it.
func plantOrphanedDependent(b *bed) planted {
	config := b.configs["cell-2"]
	_, err := fence.Freeze(b.t.Context(), config)
	b.must(err)
	b.must(fence.AwaitFrozen(b.t.Context(), config))
	b.t.Cleanup(func() {
		if err := fence.Thaw(context.WithoutCancel(b.t.Context()), config); err != nil {
			b.t.Error(err)
		}
	})
	yes := true
	_, err = b.cells["cell-2"].CoreV1().PodTemplates(b.namespace).Create(b.t.Context(), &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "x", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: "2b4f0e3c-0000-4000-8000-000000000000", Controller: &yes},
		}},
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	}, metav1.CreateOptions{})
	b.must(err)
	return planted{verify.Orphaned, "x", "cell-2", false}
}

// plantUnreadable spoils the envelope of an object that is gone, so that nothing says of what it was.
func plantUnreadable(b *bed) planted {
	cm, backup, _ := b.protected("cell-1", "x")
	b.must(b.configMaps("cell-1").Delete(b.t.Context(), cm.Name, metav1.DeleteOptions{}))
	secret := b.spoil(cm.Name, backup, func(s *corev1.Secret) {
		s.Annotations[v1alpha1.AnnotationEnvelope] = strings.Replace(s.Annotations[v1alpha1.AnnotationEnvelope], `"uid"`, `"no"`, 1)
	})
	b.everywhere = true
	return planted{verify.Orphaned, secret.Name, backup, false}
}

func plantStaleEnvelope(b *bed) planted {
	cm, backup, _ := b.protected("cell-1", "x")
	cm.Data["value"] = "2"
	_, err := b.configMaps("cell-1").Update(b.t.Context(), cm, metav1.UpdateOptions{})
	b.must(err)
	return planted{verify.Stale, cm.Name, backup, true}
}

func plantTombstone(b *bed) planted {
	cm, _, other := b.protected("cell-1", "x")
	b.create(other, cm.Name, "0", marked(v1alpha1.Migrated, map[string]string{
		v1alpha1.AnnotationRebalance: "long-ago", v1alpha1.AnnotationUnit: b.namespace + "/" + cm.Name, v1alpha1.AnnotationMovesTo: "cell-1",
		v1alpha1.AnnotationMigrationTime: time.Now().Add(-48 * time.Hour).UTC().Format(time.RFC3339),
	}))
	fresh, _, third := b.protected("cell-1", "y")
	b.create(third, fresh.Name, "0", marked(v1alpha1.Migrated, map[string]string{
		v1alpha1.AnnotationRebalance: "today", v1alpha1.AnnotationUnit: b.namespace + "/" + fresh.Name, v1alpha1.AnnotationMovesTo: "cell-1",
		v1alpha1.AnnotationMigrationTime: time.Now().UTC().Format(time.RFC3339),
	}))
	return planted{verify.Stale, cm.Name, other, true}
}

func plantIncoming(b *bed) planted {
	cm, _, other := b.protected("cell-1", "x")
	b.create(other, cm.Name, "0", marked(v1alpha1.Incoming, map[string]string{v1alpha1.AnnotationFromCell: "cell-1"}))
	return planted{verify.Stale, cm.Name, other, true}
}

func plantLastCopy(b *bed) planted {
	name, _, other := b.at("cell-1", "x")
	b.create(other, name, "0", marked(v1alpha1.Incoming, map[string]string{v1alpha1.AnnotationFromCell: "cell-1"}))
	return planted{verify.Stale, name, other, false}
}

// plantStuck cuts a move off after a step: one away from home, which can be taken back, or one that is past that.
func plantStuck(b *bed, last migration.StepName) planted {
	b.neverBackedUp()
	name, _, other := b.at("cell-1", "x")
	b.t.Cleanup(func() { b.wantAt("cell-1", name, "1") })
	if last == migration.Flipped {
		b.create(other, name, "1")
		b.cutOff(name, other, "cell-1", last)
		return planted{verify.Stuck, name, "cell-1", true}
	}
	b.create("cell-1", name, "1")
	b.cutOff(name, "cell-1", other, last)
	return planted{verify.Stuck, name, "cell-1", true}
}

func plantStuckTowardsNobody(b *bed) planted {
	b.neverBackedUp()
	name, _, _ := b.at("cell-1", "x")
	b.create("cell-1", name, "1", marked(v1alpha1.Migrating, map[string]string{
		v1alpha1.AnnotationRebalance: "killed", v1alpha1.AnnotationUnit: b.namespace + "/" + name, v1alpha1.AnnotationMovesTo: "cell-9",
		v1alpha1.AnnotationMigrationTime: time.Now().UTC().Format(time.RFC3339),
	}))
	b.t.Cleanup(func() { b.wantAt("cell-1", name, "1") })
	return planted{verify.Stuck, name, "cell-1", true}
}

func plantUnprotected(b *bed) planted {
	name, backup, _ := b.at("cell-1", "x")
	b.create("cell-1", name, "1")
	return planted{verify.Unprotected, name, backup, true}
}

func plantImmutable(b *bed) planted {
	cm, backup, _ := b.protected("cell-1", "x")
	yes := true
	b.spoil(cm.Name, backup, func(s *corev1.Secret) {
		s.Immutable = &yes
		delete(s.Labels, v1alpha1.LabelSourceCell)
	})
	return planted{verify.Unprotected, cm.Name, backup, true}
}

// TestDamagedData is found where data is read, and mended.
func TestDamagedData(t *testing.T) {
	b := newBed(t)
	cm, backup, _ := b.protected("cell-1", "x")
	b.spoil(cm.Name, backup, func(s *corev1.Secret) { s.Data["object"][9]++ })
	b.clean() // by what it says of itself
	options := b.options()
	options.Full = true
	found, err := verify.Run(t.Context(), options)
	b.must(err)
	b.exactly(found, planted{verify.Unprotected, cm.Name, backup, true})
	_, err = verify.Repair(t.Context(), verify.RepairOptions{Options: options, Identity: t.Name(), LeaseDuration: steadyLease})
	b.must(err)
	if found, err = verify.Run(t.Context(), options); err != nil || len(found.Findings) > 0 {
		t.Errorf("findings %s, error %v; want none", describe(found.Findings), err)
	}
}

// TestTheCommandForAPersonWorks deletes a duplicate through the router as the finding says.
func TestTheCommandForAPersonWorks(t *testing.T) {
	b := newBed(t)
	want := plantRival(b)
	found := b.run()
	if !b.exactly(found, want) {
		return
	}
	_, command, ok := strings.Cut(found.Findings[0].Fix, "kubectl delete --raw '")
	if !ok {
		t.Fatalf("fix is %q; want a kubectl delete --raw", found.Findings[0].Fix)
	}
	router, err := kubernetes.NewForConfig(rest.CopyConfig(b.router))
	b.must(err)
	path, _, _ := strings.Cut(command, "'")
	b.must(router.CoreV1().RESTClient().Delete().RequestURI(path).Do(t.Context()).Error())
	b.await("the duplicate to go", func() bool { return len(b.run().Findings) == 0 })
}

// TestManyFindings are counted beyond those that are kept.
func TestManyFindings(t *testing.T) {
	b := newBed(t)
	for i := range 5 {
		name, _, _ := b.at("cell-1", fmt.Sprintf("x%d", i))
		b.create("cell-1", name, "1")
	}
	options := b.options()
	options.Limit = 2
	r, err := verify.Run(t.Context(), options)
	b.must(err)
	if len(r.Findings) != 2 || r.More != 3 || r.Counts[verify.Unprotected] != 5 {
		t.Errorf("%d kept, %d more, counts %v; want 2, 3 and 5", len(r.Findings), r.More, r.Counts)
	}
}
