package router_test

import (
	"context"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// protectGold protects what is labelled so in a namespace of the test's own.
func (b *bed) protectGold(t *testing.T, name string) (ns string, gold map[string]string) {
	t.Helper()
	ns, gold = b.namespace(t, name), map[string]string{"tier": "gold"}
	b.protect(t, ns, v1alpha1.ProtectionRule{
		Namespaces: []string{ns}, Selector: &metav1.LabelSelector{MatchLabels: gold}, Policy: v1alpha1.ProtectionStrict,
	})
	return ns, gold
}

// blind keeps the mover from reading anything but envelopes in a cell until the test ends: whatever is written there is
// answered, and nobody learns what has become of it.
func (b *bed) blind(t *testing.T, cell, ns string) {
	t.Helper()
	roles := kube(t, b.cells[cell]).RbacV1().ClusterRoles()
	maps := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(ns)
	set := func(ctx context.Context, rules []rbacv1.PolicyRule, done func(error) bool) (before []rbacv1.PolicyRule) {
		role, err := roles.Get(ctx, fence.RoleMover, getOptions())
		if err == nil {
			before, role.Rules = role.Rules, rules
			_, err = roles.Update(ctx, role, metav1.UpdateOptions{})
		}
		if err == nil {
			err = wait.PollUntilContextTimeout(ctx, pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
				_, err := maps.List(ctx, metav1.ListOptions{})
				return done(err), nil
			})
		}
		if err != nil {
			t.Errorf("the rights of the mover in %s: %v", cell, err)
		}
		return before
	}
	envelopes := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{rbacv1.VerbAll}}
	before := set(t.Context(), []rbacv1.PolicyRule{envelopes}, apierrors.IsForbidden)
	t.Cleanup(func() { set(context.Background(), before, func(err error) bool { return err == nil }) })
}

// TestLabelsThatNobodyKnows protect no less: what was written, and cannot be read again, is strictly protected if it may
// be. The answer to the write tells more than nothing.
func TestLabelsThatNobodyKnows(t *testing.T) {
	b := newBed(t)
	ns, gold := b.protectGold(t, "unread")
	config := rest.CopyConfig(b.router)
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	maps, deployments := kube(t, config).CoreV1().ConfigMaps(ns), kube(t, config).AppsV1().Deployments(ns)
	made := func(prefix string, labels map[string]string) string {
		name := b.nameIn(t, "cell-1", ns, prefix)
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if _, err := maps.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	patched, gone, plain := made("patched", gold), made("gone", gold), made("plain", nil)
	scaled := deployment(b.nameIn(t, "cell-1", ns, "scaled"))
	scaled.Labels = gold
	if _, err := deployments.Create(t.Context(), scaled, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.blind(t, "cell-1", ns)
	patch := func(name string) error {
		_, err := maps.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{})
		return err
	}
	for what, do := range map[string]func() error{
		"a patch":    func() error { return patch(patched) },
		"a deletion": func() error { return maps.Delete(t.Context(), gone, metav1.DeleteOptions{}) },
		"a scale": func() error {
			to := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: scaled.Name, Namespace: ns}}
			to.Spec.Replicas = 3
			_, err := deployments.UpdateScale(t.Context(), scaled.Name, to, metav1.UpdateOptions{})
			return err
		},
	} {
		if err := do(); !apierrors.IsTimeout(err) || !strings.Contains(err.Error(), "is not protected") {
			t.Errorf("%s of what is protected strictly: %v; want a timeout, since nobody knows whether its envelope has that", what, err)
		}
	}
	if err := patch(plain); err != nil {
		t.Errorf("a patch of what the answer shows to be unprotected: %v", err)
	}
}

// TestABackupCellThatIsAwayByLabel refuses what the rule is about, whatever it is encoded in, before anything is written,
// and has no say in the rest.
func TestABackupCellThatIsAwayByLabel(t *testing.T) {
	b := newBed(t)
	ns, gold := b.protectGold(t, "awaylabel")
	snap := b.snapshot(t)
	name := func(prefix string) string { return backedUpIn(snap, ns, prefix, "cell-2") }
	warned := &warnings{}
	config := impatient(b.router)
	config.WarningHandler = warned
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	config = rest.CopyConfig(config)
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	binary := kube(t, config).CoreV1().ConfigMaps(ns)
	for prefix, labels := range map[string]map[string]string{"kept": gold, "plain": nil} {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name(prefix), Labels: labels}}
		if _, err := maps.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	unwritten := func(err error) bool {
		return apierrors.IsServiceUnavailable(err) && strings.Contains(err.Error(), "nothing was written")
	}
	b.breakCell(t, "cell-2")
	until(t, "the router knows", func(ctx context.Context) bool {
		_, err := maps.Patch(ctx, name("kept"), types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{})
		return unwritten(err)
	})
	for what, do := range map[string]func() error{
		"a create": func() error {
			made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name("made"), Labels: gold}}
			_, err := binary.Create(t.Context(), made, metav1.CreateOptions{})
			return err
		},
		"an apply": func() error {
			object := applycorev1.ConfigMap(name("applied"), ns).WithLabels(gold)
			_, err := maps.Apply(t.Context(), object, metav1.ApplyOptions{FieldManager: "test"})
			return err
		},
		"a deletion": func() error { return maps.Delete(t.Context(), name("kept"), metav1.DeleteOptions{}) },
	} {
		if err := do(); !unwritten(err) {
			t.Errorf("%s: %v; want a refusal before anything is written", what, err)
		}
	}
	if err := maps.Delete(t.Context(), name("plain"), metav1.DeleteOptions{}); err != nil || warned.has("not protected") {
		t.Errorf("deletion of what no rule is about: %v, warnings %q", err, warned.said)
	}
	for prefix, want := range map[string]bool{"kept": true, "made": false, "applied": false, "plain": false} {
		if there := len(b.holders(t, ns, name(prefix))) > 0; there != want {
			t.Errorf("%s is there: %t", name(prefix), there)
		}
	}
}
