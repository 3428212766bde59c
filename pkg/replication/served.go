package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
)

// servedEvery is how often a cell is asked whether it serves a new definition: an apiserver takes some
// 100 ms to establish one, and serves it a moment later.
const servedEvery = 50 * time.Millisecond

// AwaitServed returns when the cell serves every version of a definition that was pushed to it, or has
// no such definition any more. The error says why it does not when ctx ends, or at once where it never
// will: the names are taken by another definition.
func AwaitServed(ctx context.Context, cell Cell, o Object) error {
	why := errors.New("it is not established")
	err := wait.PollUntilContextCancel(ctx, servedEvery, true, func(ctx context.Context) (bool, error) {
		copied, err := find(ctx, cell.Client, o)
		if err != nil {
			return false, err
		}
		if leaving(copied) {
			return true, nil
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(copied.Object, &crd); err != nil {
			return false, err
		}
		if refused := condition(&crd, apiextensionsv1.NamesAccepted); refused != nil && refused.Status == apiextensionsv1.ConditionFalse {
			return false, errors.New(refused.Message)
		}
		if c := condition(&crd, apiextensionsv1.Established); c == nil || c.Status != apiextensionsv1.ConditionTrue {
			return false, nil
		}
		err = listed(ctx, cell, &crd)
		if err != nil && ctx.Err() == nil {
			why = err
		}
		return err == nil, nil
	})
	if ctx.Err() != nil {
		err = why
	}
	if err != nil {
		return fmt.Errorf("wait until %s is served: %w", o, err)
	}
	return nil
}

// listed asks for a list of each served version: a moment after Established is true, the answer is
// still 404.
func listed(ctx context.Context, cell Cell, crd *apiextensionsv1.CustomResourceDefinition) error {
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		resource := schema.GroupVersionResource{Group: crd.Spec.Group, Version: version.Name, Resource: crd.Spec.Names.Plural}
		_, err := cell.Client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		// Any other refusal comes from what serves the resource, such as a webhook that converts it.
		if apierrors.IsNotFound(err) || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown && err != nil {
			return err
		}
	}
	return nil
}

func condition(crd *apiextensionsv1.CustomResourceDefinition, kind apiextensionsv1.CustomResourceDefinitionConditionType) *apiextensionsv1.CustomResourceDefinitionCondition {
	for i := range crd.Status.Conditions {
		if crd.Status.Conditions[i].Type == kind {
			return &crd.Status.Conditions[i]
		}
	}
	return nil
}
