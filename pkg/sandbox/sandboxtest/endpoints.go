package sandboxtest

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// FirstEndpointDown gives each Cell of a federation two endpoints until the test ends, the first of which refuses all
// connections.
func FirstEndpointDown(t testing.TB, rcp *rest.Config) {
	t.Helper()
	known, err := federation.Cells(t.Context(), rcp)
	if err != nil {
		t.Fatal(err)
	}
	rcpClient, err := client.New(rcp)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ctx context.Context, cell string, endpoints []string) {
		err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
			current, err := rcpClient.Cells().Get(ctx, cell, metav1.GetOptions{})
			if err != nil {
				return err
			}
			current.Spec.Endpoints = endpoints
			_, err = rcpClient.Cells().Update(ctx, current, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for name, access := range known {
		if access.Err != nil {
			t.Fatal(access.Err)
		}
		down := NewGate(t, access.Config.Host)
		down.Vanish()
		set(t.Context(), name, []string{down.URL(), access.Config.Host})
		t.Cleanup(func() { set(context.WithoutCancel(t.Context()), name, access.Cell.Spec.Endpoints) })
	}
}
