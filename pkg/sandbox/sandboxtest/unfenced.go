package sandboxtest

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

const (
	fenceEvery    = 20 * time.Millisecond
	fencePatience = time.Minute
)

// Unfenced takes the fence off a cell until the test ends, and returns a way to it on which it cannot have one, but for the
// mover's rights. The answers are those of a [Proxy]; a federation gets to know the way by [Reach].
func Unfenced(t testing.TB, config *rest.Config, answers ...Answer) *rest.Config {
	t.Helper()
	way := Proxy(t, config, append(answers, NoPolicies)...)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := fence.Install(ctx, config); err != nil {
			t.Errorf("install the fence again: %v", err)
		}
		if err := fence.Await(ctx, config); err != nil {
			t.Error(err)
		}
	})
	if err := fence.Remove(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	awaitUnfenced(t, config)
	if _, err := fence.Install(t.Context(), way); !errors.Is(err, fence.ErrUnsupported) {
		t.Fatalf("install a fence where no policies are served: %v", err)
	}
	if err := fence.AwaitMover(t.Context(), way); err != nil {
		t.Fatal(err)
	}
	return way
}

// awaitUnfenced waits until a cell lets everybody write an object that is in migration.
func awaitUnfenced(t testing.TB, config *rest.Config) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: "unfenced", Labels: map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrating)},
	}}
	err = wait.PollUntilContextTimeout(t.Context(), fenceEvery, fencePatience, true, func(ctx context.Context) (bool, error) {
		_, err := kube.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("wait for the fence to be off: %v", err)
	}
}

// Reach has a federation reach a cell of its own by another way, and by config again once the test ends.
func Reach(t testing.TB, rcp *rest.Config, cell string, config, way *rest.Config) {
	t.Helper()
	by := func(way *rest.Config) federation.NewCell {
		return federation.NewCell{Name: cell, Kubeconfig: Kubeconfig(t, way)}
	}
	if _, err := federation.AddCell(t.Context(), rcp, by(way), federation.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := federation.AddCell(context.WithoutCancel(t.Context()), rcp, by(config), federation.Options{}); err != nil {
			t.Errorf("reach cell %s as before: %v", cell, err)
		}
	})
}
