package rebalance_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// family is a deployment that has a status and a finalizer, and a secret that it owns, beside the config map of a unit: it
// takes the steps that config maps alone do not.
type family struct {
	b    *bed
	unit migration.Unit
	name string
}

func (b *bed) family(unit migration.Unit) *family {
	b.t.Helper()
	f, ctx := &family{b, unit, unit.Objects[0].Name}, b.t.Context()
	labels := map[string]string{"app": f.name}
	root, err := b.cells[unit.From].AppsV1().Deployments(b.namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: f.name, Finalizers: []string{"example.com/hold"}},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "it", Image: "it"}}},
			},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	b.t.Cleanup(f.remove)
	root.Status = appsv1.DeploymentStatus{Replicas: 3, ReadyReplicas: 2}
	_, err = b.cells[unit.From].AppsV1().Deployments(b.namespace).UpdateStatus(ctx, root, metav1.UpdateOptions{})
	b.must(err)
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: f.name, UID: root.UID}
	_, err = b.cells[unit.From].CoreV1().Secrets(b.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: f.name, OwnerReferences: []metav1.OwnerReference{owner}},
	}, metav1.CreateOptions{})
	b.must(err)
	return f
}

// remove takes it out of all cells: what a test leaves would be moved by those that follow.
func (f *family) remove() {
	ctx := context.Background()
	for name, config := range f.b.configs {
		kube := kubeOf(f.b.t, fence.AsMover(config))
		_, err := kube.AppsV1().Deployments(f.b.namespace).Patch(ctx, f.name, types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err == nil {
			err = kube.AppsV1().Deployments(f.b.namespace).Delete(ctx, f.name, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			f.b.t.Errorf("%s in %s: %v", f.name, name, err)
		}
		if err := kube.CoreV1().Secrets(f.b.namespace).Delete(ctx, f.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			f.b.t.Errorf("%s in %s: %v", f.name, name, err)
		}
	}
}

// secret is one of the name of the family's, in the cell that the unit moves to.
func (f *family) secret(labels map[string]string) (remove func()) {
	f.b.t.Helper()
	secrets := kubeOf(f.b.t, fence.AsMover(f.b.configs[f.unit.To])).CoreV1().Secrets(f.b.namespace)
	_, err := secrets.Create(f.b.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: f.name, Labels: labels}}, metav1.CreateOptions{})
	f.b.must(err)
	return func() {
		f.b.t.Helper()
		f.b.must(secrets.Delete(f.b.t.Context(), f.name, metav1.DeleteOptions{}))
	}
}

// obstruct puts a secret in its way that is no copy: those that are made before are taken back.
func (f *family) obstruct(string) (clear func()) { return f.secret(nil) }

// entomb puts the tombstone of an earlier run there, which is made use of.
func (f *family) entomb(string) (clear func()) {
	f.secret(map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrated)})
	return func() {}
}

// half has an earlier driver end when copies are there.
func (f *family) half(run string) (clear func()) {
	f.b.killAt(run, string(migration.Verified))
	f.b.forgetLease()
	return func() {}
}

// left is what there is of it where it has moved to, and where it was.
func (f *family) left() map[string][]string {
	f.b.t.Helper()
	out := map[string][]string{}
	for side, cell := range map[string]string{"owner": f.unit.To, "origin": f.unit.From} {
		root, err := f.b.cells[cell].AppsV1().Deployments(f.b.namespace).Get(f.b.t.Context(), f.name, metav1.GetOptions{})
		f.b.must(err)
		child, err := f.b.cells[cell].CoreV1().Secrets(f.b.namespace).Get(f.b.t.Context(), f.name, metav1.GetOptions{})
		f.b.must(err)
		out[side+" deployment"] = append(traceOf(root), fmt.Sprintf("ready %d/%d", root.Status.ReadyReplicas, root.Status.Replicas))
		out[side+" secret"] = traceOf(child)
		for _, ref := range child.OwnerReferences {
			out[side+" secret"] = append(out[side+" secret"], fmt.Sprintf("owner %s here=%t", ref.Kind, ref.UID == root.UID))
		}
	}
	return out
}

// TestADriverKilledWithAFamilyIsFollowedByAnother does as [TestAKilledDriverIsFollowedByAnother] at the steps that objects
// take which have a status, an owner, or something in their way. That content arrives unchanged is for pkg/migration to show.
func TestADriverKilledWithAFamilyIsFollowedByAnother(t *testing.T) {
	var undisturbed map[string]traces
	var left map[string][]string
	t.Run("undisturbed", func(t *testing.T) {
		b, before := growing(t, few)
		f := b.family(b.plan(nil)[0])
		d := b.driver("it")
		b.start(d, b.accepted(v1alpha1.RebalanceSpec{}).Run.Name)
		b.finish(d, v1alpha1.RebalanceSucceeded)
		b.settled(before)
		undisturbed, left = b.left(before), f.left()
		if want := "ready 2/3"; left["owner deployment"][len(left["owner deployment"])-1] != want {
			t.Errorf("the deployment is %v; want %s", left["owner deployment"], want)
		}
	})
	for step, prepare := range familySteps {
		t.Run(string(step), func(t *testing.T) {
			b, before := growing(t, few)
			f := b.family(b.plan(nil)[0])
			name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			clear := prepare(f, name)
			b.killAt(name, string(step))
			b.forgetLease()
			clear()
			second := b.driver("second")
			b.start(second, name)
			b.finish(second, v1alpha1.RebalanceSucceeded)
			b.settled(before)
			if diff := cmp.Diff(undisturbed, b.left(before)); diff != "" {
				t.Errorf("what is left of the others differs (-undisturbed +this):\n%s", diff)
			}
			if diff := cmp.Diff(left, f.left()); diff != "" {
				t.Errorf("what is left differs (-undisturbed +this):\n%s", diff)
			}
		})
	}
}

// familySteps are those that config maps alone do not come to in an undisturbed run, and what leads to them.
var familySteps = map[migration.StepName]func(f *family, run string) (clear func()){
	migration.Kept:      (*family).half,
	migration.Updated:   (*family).entomb,
	migration.Stated:    func(*family, string) func() { return func() {} },
	migration.Unmarked:  (*family).obstruct,
	migration.Released:  (*family).obstruct,
	migration.Discarded: (*family).obstruct,
}
