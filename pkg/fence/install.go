package fence

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// ErrUnsupported is returned for a cell whose apiserver does not serve admission policies, as where their API is turned
// off. The caller says so, and goes on without a fence.
var ErrUnsupported = errors.New("the apiserver does not serve ValidatingAdmissionPolicy")

// Install makes the fence of a cell what it must be, and says whether it had to change anything. It may
// be repeated at any time, also while objects migrate: what is in force stays so meanwhile. A fence that
// was installed or changed is in force about a second later; see [Await]. Where it fails with [ErrUnsupported] it has
// given the mover his rights all the same; see [AwaitMover].
//
// config needs the right to write all six objects, and escalate and bind on clusterroles.
func Install(ctx context.Context, config *rest.Config) (changed bool, err error) {
	all, err := parts()
	if err != nil {
		return false, err
	}
	return install(ctx, config, all)
}

// install makes all parts what they must be, in their order.
func install(ctx context.Context, config *rest.Config, all []part) (changed bool, err error) {
	unsupported := supported(ctx, config)
	switch {
	case errors.Is(unsupported, ErrUnsupported):
		all = rights(all)
	case unsupported != nil:
		return false, unsupported
	}
	client, err := open(config)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		did, err := p.install(ctx, client)
		if err != nil {
			return changed, fmt.Errorf("install %s: %w", p.name(), err)
		}
		changed = changed || did
	}
	return changed, unsupported
}

// Remove takes the fence off, and a freeze. Objects that still have the label can be written by anybody then. What is
// not there is no error.
func Remove(ctx context.Context, config *rest.Config) error {
	all, err := parts()
	if err != nil {
		return err
	}
	mark, err := partsOf(freezeMark())
	if err != nil {
		return err
	}
	return remove(ctx, config, append(all, mark...)) // the early policy would freeze the cell once it is here again
}

// remove takes all parts off in reverse: what keeps people out goes first, the mover's rights last.
func remove(ctx context.Context, config *rest.Config, all []part) error {
	client, err := open(config)
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		err := client.Resource(all[i].resource).Delete(ctx, all[i].want.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove %s: %w", all[i].name(), err)
		}
	}
	return nil
}

func open(config *rest.Config) (dynamic.Interface, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	return client, nil
}

// install applies the part. An apply leaves alone what others have added, such as a condition that lets
// them through: then the part is replaced.
func (p part) install(ctx context.Context, client dynamic.Interface) (changed bool, err error) {
	objects := client.Resource(p.resource)
	before, err := objects.Get(ctx, p.want.GetName(), metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return false, err
	}
	options := metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true}
	after, err := objects.Apply(ctx, p.want.GetName(), p.want, options)
	if apierrors.IsInvalid(err) && !missing {
		// The role that a binding refers to cannot be changed.
		if err := objects.Delete(ctx, p.want.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		after, err = objects.Apply(ctx, p.want.GetName(), p.want, options)
	}
	if err != nil {
		return false, err
	}
	left, err := p.differences(after)
	if err != nil {
		return false, err
	}
	if len(left) > 0 {
		return true, p.replace(ctx, objects)
	}
	return missing || before.GetResourceVersion() != after.GetResourceVersion(), nil
}

// replace leaves nothing of the part but what must be there, beside its metadata.
func (p part) replace(ctx context.Context, objects dynamic.ResourceInterface) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := objects.Get(ctx, p.want.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		next := p.want.DeepCopy()
		if err := unstructured.SetNestedField(next.Object, live.Object["metadata"], "metadata"); err != nil {
			return err
		}
		_, err = objects.Update(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
}
