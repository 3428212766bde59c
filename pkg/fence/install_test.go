package fence_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

var (
	policies = admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")
	bindings = admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings")
	roles    = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	granted  = rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")
)

func (c *cell) check(t *testing.T) fence.Report {
	t.Helper()
	report, err := fence.Check(t.Context(), c.config)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestDriftIsFoundAndRepaired changes each part as somebody else might, who owns what he adds: an apply
// would leave that alone.
func TestDriftIsFoundAndRepaired(t *testing.T) {
	c := fenced(t)
	patched := func(resource schema.GroupVersionResource, name, body string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if _, err := c.admin.Resource(resource).Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*testing.T)
		state  fence.State
		words  string
	}{
		"failure policy": {
			patched(policies, fence.Name, `{"spec":{"failurePolicy":"Ignore"}}`),
			fence.Drifted, "validatingadmissionpolicy/kubecell-fence spec.failurePolicy",
		},
		"a condition more": {
			func(t *testing.T) {
				t.Helper()
				body := []byte(`[{"op":"add","path":"/spec/matchConditions/-","value":{"name":"never","expression":"false"}}]`)
				if _, err := c.admin.Resource(policies).Patch(t.Context(), fence.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
					t.Fatal(err)
				}
			},
			fence.Drifted, "spec.matchConditions",
		},
		"a namespace left out": {
			patched(policies, fence.Name, `{"spec":{"matchConstraints":{"namespaceSelector":{"matchLabels":{"fenced":"yes"}}}}}`),
			fence.Drifted, "spec.matchConstraints.namespaceSelector",
		},
		"a resource left out": {
			patched(policies, fence.Name, `{"spec":{"matchConstraints":{"excludeResourceRules":[{"apiGroups":["apps"],"apiVersions":["*"],"operations":["*"],"resources":["*"]}]}}}`),
			fence.Drifted, "spec.matchConstraints.excludeResourceRules",
		},
		"audit instead of refusal": {
			patched(bindings, fence.Name, `{"spec":{"validationActions":["Audit"]}}`),
			fence.Drifted, "validatingadmissionpolicybinding/kubecell-fence spec.validationActions",
		},
		"a binding that matches less": {
			patched(bindings, fence.Name, `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"fenced":"yes"}}}}}`),
			fence.Drifted, "spec.matchResources",
		},
		"no rights": {patched(roles, fence.RoleMover, `{"rules":[]}`), fence.Drifted, "clusterrole/kubecell-mover rules"},
		"one more mover": {
			patched(granted, fence.RoleMover, `{"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"kubecell:movers"},{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"eve"}]}`),
			fence.Drifted, "clusterrolebinding/kubecell-mover subjects",
		},
		"another role": {
			func(t *testing.T) {
				t.Helper()
				all := c.kube.RbacV1().ClusterRoleBindings()
				if err := all.Delete(t.Context(), fence.RoleMover, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				other := &rbacv1.ClusterRoleBinding{
					ObjectMeta: metav1.ObjectMeta{Name: fence.RoleMover},
					RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
				}
				if _, err := all.Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			fence.Drifted, "clusterrolebinding/kubecell-mover roleRef.name",
		},
		"no binding": {
			func(t *testing.T) {
				t.Helper()
				if err := c.admin.Resource(bindings).Delete(t.Context(), fence.Name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			fence.Missing, "validatingadmissionpolicybinding/kubecell-fence is missing",
		},
		"no freeze for later": {
			func(t *testing.T) {
				t.Helper()
				if err := c.admin.Resource(policies).Delete(t.Context(), fence.EarlyName, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			fence.Missing, "validatingadmissionpolicy/kubecell-freeze-early is missing",
		},
		"a freeze of something else": {
			patched(bindings, fence.EarlyName, `{"spec":{"paramRef":{"name":"another"}}}`),
			fence.Drifted, "validatingadmissionpolicybinding/kubecell-freeze-early spec.paramRef.name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(t)
			if report := c.check(t); report.State != test.state || !strings.Contains(report.String(), test.words) {
				t.Errorf("check: %s; want %s with %q", report, test.state, test.words)
			}
			if changed, err := fence.Install(t.Context(), c.config); err != nil || !changed {
				t.Fatalf("install: changed %v, %v", changed, err)
			}
			if report := c.check(t); report.State != fence.Live || len(report.Differences) > 0 {
				t.Errorf("after the repair: %s", report)
			}
			if changed, err := fence.Install(t.Context(), c.config); err != nil || changed {
				t.Errorf("install again: changed %v, %v; want nothing to do", changed, err)
			}
		})
	}
	if err := fence.Await(t.Context(), c.config); err != nil {
		t.Error(err)
	}
}

// TestWhatOthersNoteIsNoDrift: labels and annotations of other tools are theirs.
func TestWhatOthersNoteIsNoDrift(t *testing.T) {
	c := fenced(t)
	for _, resource := range []schema.GroupVersionResource{policies, bindings} {
		body := []byte(`{"metadata":{"labels":{"seen-by":"x"},"annotations":{"note":"y"}}}`)
		if _, err := c.admin.Resource(resource).Patch(t.Context(), fence.Name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if report := c.check(t); report.State != fence.Live {
		t.Errorf("check: %s", report)
	}
	if changed, err := fence.Install(t.Context(), c.config); err != nil || changed {
		t.Errorf("install: changed %v, %v; want nothing to do", changed, err)
	}
	got, err := c.admin.Resource(policies).Get(t.Context(), fence.Name, metav1.GetOptions{})
	if err != nil || got.GetLabels()["seen-by"] != "x" || got.GetAnnotations()["note"] != "y" {
		t.Errorf("labels %v, annotations %v, %v", got.GetLabels(), got.GetAnnotations(), err)
	}
}

// awaitBriefly is Await for a fence that is not expected to come in force.
func (c *cell) awaitBriefly(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return fence.Await(ctx, c.config)
}

// lifted waits until writes are let through.
func (c *cell) lifted(t *testing.T) {
	t.Helper()
	eventually(t, "the fence is lifted", func(ctx context.Context) error {
		_, err := c.admin.Resource(configMaps).Namespace("default").Create(ctx, object(configMaps, "x", v1alpha1.Migrating),
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// TestAwaitTellsWhenTheFenceIsInForce: not before a real write is refused, and not while the mover is kept
// out.
func TestAwaitTellsWhenTheFenceIsInForce(t *testing.T) {
	c := fenced(t)
	wantNot := func(why string) {
		t.Helper()
		if err := c.awaitBriefly(t); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("await: %v; want an error with %q", err, why)
		}
	}
	live, err := c.mover.Resource(configMaps).Namespace("default").Create(t.Context(), object(configMaps, "awaited", v1alpha1.Migrating), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("removed", func(t *testing.T) {
		for range 2 {
			if err := fence.Remove(t.Context(), c.config); err != nil {
				t.Fatal(err)
			}
		}
		if report := c.check(t); report.State != fence.Missing || len(report.Differences) != 6 {
			t.Errorf("check: %s", report)
		}
		c.lifted(t)
		wantNot("was let through")
	})
	t.Run("installed", func(t *testing.T) {
		if changed, err := fence.Install(t.Context(), c.config); err != nil || !changed {
			t.Fatal(changed, err)
		}
		// Several at once do not disturb each other.
		answers := make(chan error, 3)
		for range cap(answers) {
			go func() { answers <- fence.Await(t.Context(), c.config) }()
		}
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, "an update once it is in force", update("", withLabel("")).do(t.Context(), c.admin.Resource(configMaps).Namespace("default"), live, nil))
		_, err := c.admin.Resource(configMaps).Namespace("default").Patch(t.Context(), "awaited", types.MergePatchType, []byte(`{"data":{"k":"lost"}}`), metav1.PatchOptions{})
		wantRefusal(t, "a write once it is in force", err, "default/awaited")
		for range cap(answers) - 1 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("an earlier revision", func(t *testing.T) {
		body := []byte(`[{"op":"replace","path":"/spec/validations/0/messageExpression","value":"'kubecell fence: [00000000]'"}]`)
		if _, err := c.admin.Resource(policies).Patch(t.Context(), fence.Name, types.JSONPatchType, body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other policy is in force", func(context.Context) error {
			if err := c.awaitBriefly(t); err == nil || !strings.Contains(err.Error(), "an earlier fence is in force") {
				return errors.Join(errors.New("await"), err)
			}
			return nil
		})
	})
	t.Run("the mover kept out", func(t *testing.T) {
		if _, err := fence.Install(t.Context(), c.config); err != nil {
			t.Fatal(err)
		}
		if err := fence.Await(t.Context(), c.config); err != nil {
			t.Fatal(err)
		}
		if err := c.kube.RbacV1().ClusterRoleBindings().Delete(t.Context(), fence.RoleMover, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the mover has no rights", func(context.Context) error {
			if err := c.awaitBriefly(t); err == nil || !strings.Contains(err.Error(), "the mover is not let through") {
				return errors.Join(errors.New("await"), err)
			}
			return nil
		})
	})
	left, err := c.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelRebalanceStatus})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("left behind: %v, %v", left.Items, err)
	}
}
