package federation_test

import (
	"context"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/config"
	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func TestInitInstallsOnceAndServesAtOnce(t *testing.T) {
	b := newBed(t)
	b.uninstall(t)
	first, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, done := range first.Installed {
		if done.Outcome == federation.Unchanged && done.Object == "customresourcedefinition/rings.kubecell.io" {
			t.Errorf("%s %s; want it created", done.Object, done.Outcome)
		}
	}
	if ring := b.ring(t); ring.Status.Epoch != 0 || ring.Status.Current != nil || ring.Spec.PointsPerWeight != placement.DefaultPointsPerWeight {
		t.Errorf("ring = %+v; want epoch 0, no layout, the default points", ring)
	}
	again, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Installed) == 0 {
		t.Error("the second init looked at nothing")
	}
	for _, done := range again.Installed {
		if done.Outcome != federation.Unchanged {
			t.Errorf("second init: %s %s; want unchanged", done.Object, done.Outcome)
		}
	}
}

func TestInitDryRunWritesNothing(t *testing.T) {
	b := newBed(t)
	b.uninstall(t)
	options := federation.InitOptions{Founders: []federation.NewCell{{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[0])}}}
	options.DryRun = true
	result, err := federation.Init(t.Context(), b.rcp, options)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Founded || len(result.Founders) != 1 || len(result.Founders[0].Checks) == 0 {
		t.Errorf("plan = %+v; want the founder with its checks", result)
	}
	if _, err := b.cell.Rings().List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("list rings after a dry run: %v; want 404", err)
	}
}

func TestFoundersMakeTheFirstLayout(t *testing.T) {
	b := newBed(t)
	if result := b.init(t, 2); !result.Founded {
		t.Error("not founded")
	}
	ring := b.ring(t)
	if ring.Status.Epoch != 1 || ring.Status.Phase != v1alpha1.RingStable || members(ring.Status.Current.Members) != "cell-1 cell-2" {
		t.Errorf("status = %+v; want epoch 1, Stable, cell-1 and cell-2", ring.Status)
	}
	if again := b.init(t, 2); again.Founded || b.ring(t).ResourceVersion != ring.ResourceVersion {
		t.Error("the second init with the same founders changed the ring")
	}
	t.Run("others are refused", func(t *testing.T) {
		_, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: []federation.NewCell{
			{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[0])}, {Name: "cell-9", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[2])},
		}})
		wantError(t, err, exit.Refused, "founded already", "cell-1 (weight 100)", "kubectl cell add cell-9")
	})
	t.Run("other weights are refused", func(t *testing.T) {
		_, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: []federation.NewCell{
			{Name: "cell-1", Weight: 50}, {Name: "cell-2"},
		}})
		wantError(t, err, exit.Refused, "founded already")
	})
}

func TestFoundingResumes(t *testing.T) {
	b := newBed(t)
	// What a call leaves that is cut off between the wanted ring and the first layout.
	b.init(t, 2)
	ring := b.ring(t)
	ring.Status = v1alpha1.RingStatus{}
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Delete(t.Context(), "cell-cell-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if result := b.init(t, 2); !result.Founded {
		t.Error("not founded by the second call")
	}
	if ring := b.ring(t); ring.Status.Epoch != 1 || members(ring.Status.Current.Members) != "cell-1 cell-2" {
		t.Errorf("status = %+v; want epoch 1 with both cells", ring.Status)
	}
	if cells, secrets := b.stored(t); len(cells) != 2 || len(secrets) != 2 {
		t.Errorf("stored cells %v, secrets %v; want two each", cells, secrets)
	}
}

func TestFoundersThatWereAddedBefore(t *testing.T) {
	b := newBed(t)
	b.init(t, 0)
	if _, err := federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[0])}, federation.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: []federation.NewCell{
		{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[1])},
	}})
	wantError(t, err, exit.Refused, "cell-1 is in the wanted ring but not among the founders", "kubectl cell drain cell-1")
	if epoch := b.ring(t).Status.Epoch; epoch != 0 {
		t.Errorf("epoch %d after the refusal; want 0", epoch)
	}
	// By name alone: the stored kubeconfig is used.
	result, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: []federation.NewCell{{Name: "cell-1"}}})
	if err != nil || !result.Founded {
		t.Fatalf("init with a stored cell: founded %v, %v", result.Founded, err)
	}
}

func TestBadFounders(t *testing.T) {
	b := newBed(t)
	good := sandboxtest.Kubeconfig(t, b.cells[0])
	for name, test := range map[string]struct {
		options federation.InitOptions
		code    exit.Code
		words   []string
	}{
		"twice": {
			federation.InitOptions{Founders: []federation.NewCell{{Name: "a", Kubeconfig: good}, {Name: "a", Kubeconfig: good}}},
			exit.Usage, []string{"twice"},
		},
		"one control plane twice": {
			federation.InitOptions{Founders: []federation.NewCell{{Name: "a", Kubeconfig: good}, {Name: "b", Kubeconfig: good}}},
			exit.Refused, []string{"the same control plane"},
		},
		"not stored": {
			federation.InitOptions{Founders: []federation.NewCell{{Name: "a"}}},
			exit.Usage, []string{"not stored yet", "--founder a=FILE"},
		},
		"points": {
			federation.InitOptions{PointsPerWeight: 1001},
			exit.Usage, []string{"1 to 1000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := federation.Init(t.Context(), b.rcp, test.options)
			wantError(t, err, test.code, test.words...)
			if cells, secrets := b.stored(t); len(cells)+len(secrets) > 0 {
				t.Errorf("left behind: cells %v, secrets %v", cells, secrets)
			}
		})
	}
}

// A router's rights, as the apiserver sees them: what it needs, and nothing that lets it change the
// federation.
func TestRouterRights(t *testing.T) {
	b := newBed(t)
	b.init(t, 0)
	role, err := b.kube.RbacV1().ClusterRoles().Get(t.Context(), federation.RoleRouter, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			if verb == rbacv1.VerbAll {
				t.Errorf("rule %v grants every verb", rule)
			}
		}
		for _, resource := range rule.Resources {
			impersonates := slices.Equal(rule.Verbs, []string{"impersonate"}) && slices.Equal(rule.APIGroups, []string{"authentication.k8s.io"})
			if resource == "secrets" || resource == rbacv1.ResourceAll && !impersonates {
				t.Errorf("rule %v grants %s in every namespace", rule, resource)
			}
		}
	}
}

// uninstall removes the CRDs and waits until the apiserver has forgotten them.
func (b *bed) uninstall(t *testing.T) {
	t.Helper()
	client, err := apiextensions.NewForConfig(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	crds, err := config.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		err := client.ApiextensionsV1().CustomResourceDefinitions().Delete(t.Context(), crd.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	err = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, rings := b.cell.Rings().List(ctx, metav1.ListOptions{})
		_, cells := b.cell.Cells().List(ctx, metav1.ListOptions{})
		_, rebalances := b.cell.Rebalances().List(ctx, metav1.ListOptions{})
		_, failovers := b.cell.Failovers().List(ctx, metav1.ListOptions{})
		return apierrors.IsNotFound(rings) && apierrors.IsNotFound(cells) &&
			apierrors.IsNotFound(rebalances) && apierrors.IsNotFound(failovers), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
