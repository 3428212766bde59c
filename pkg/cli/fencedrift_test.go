package cli_test

import (
	"context"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// drift is the command of scripts that changes the policy of a cell's fence, or deletes its binding, until the end of the
// script. CELL.kubeconfig is a kubeconfig for the cell.
//
//	drift CELL policy|binding
func (b *bed) drift(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	cell, config := b.planes[args[0]], b.configs[args[0]]
	resource := func(name string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: name}
	}
	var err error
	switch args[1] {
	case "policy":
		_, err = cell.Resource(resource("validatingadmissionpolicies")).Patch(ctx, fence.Name, types.MergePatchType,
			[]byte(`{"spec":{"failurePolicy":"Ignore"}}`), metav1.PatchOptions{})
	case "binding":
		err = cell.Resource(resource("validatingadmissionpolicybindings")).Delete(ctx, fence.Name, metav1.DeleteOptions{})
	default:
		ts.Fatalf("usage: drift CELL policy|binding")
	}
	ts.Check(err)
	ts.Defer(func() {
		_, err := fence.Install(ctx, config)
		ts.Check(err)
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".kubeconfig"), b.files[args[0]], 0o600))
}
