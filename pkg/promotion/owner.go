package promotion

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// owners promotes what the object names as its owners, as far as there are envelopes. It has failed where one of these
// has to stay.
func (a *attempt) owners(ctx context.Context) (result Result, failed bool) {
	waiting := append(slices.Clone(a.waiting), a.secret.Name)
	for _, ref := range a.meta.OwnerReferences {
		owner, known := a.owner(ref)
		if !known || !a.hasBackup(owner) {
			continue
		}
		name := envelope.Name(owner.Resource.Group, owner.Resource.Resource, owner.Namespace, owner.Name)
		if slices.Contains(waiting, name) {
			return a.result.with(Cycle, "it and its owner "+owner.String()+" own each other", nil), true
		}
		of := a.promote(ctx, a.cell.Name, name, nil, waiting)
		switch {
		case of.Done():
		case of.Retryable(), of.Outcome == Cycle:
			return a.result.with(of.Outcome, fmt.Sprintf("its owner %s", of), of.Err), true
		default:
			a.result.lacks = of.lacks
			return a.result.with(OwnerMissing, fmt.Sprintf("its owner %s", of), of.Err), true
		}
	}
	return a.result, false
}

// owner is the one that a reference names, as this cell has it.
func (a *attempt) owner(ref metav1.OwnerReference) (migration.Object, bool) {
	resource, served := a.cell.OwnerResource(ref)
	owner := migration.Object{Resource: resource, Name: ref.Name}
	if resource.Namespaced {
		owner.Namespace = a.envelope.Namespace
	}
	return owner, served
}

func (a *attempt) hasBackup(o migration.Object) bool {
	class, _ := a.Snapshot.Classes.Of(o.Resource.Group, o.Resource.Resource, o.Namespace)
	return class == placement.Sharded || class == placement.Dependent
}

// remade says whether the object in the way was derived again from an owner that was promoted before. It stands for
// nothing that anybody wrote.
func (a *attempt) remade(ctx context.Context, found *migration.Copy) (bool, error) {
	class, _ := a.Snapshot.Classes.Of(a.envelope.Group, a.envelope.Resource, a.envelope.Namespace)
	if class != placement.Dependent {
		return false, nil
	}
	for _, ref := range found.Owners() {
		same := func(before metav1.OwnerReference) bool {
			return before.Kind == ref.Kind && before.Name == ref.Name && group(before) == group(ref)
		}
		owner, known := a.owner(ref)
		if !known || !slices.ContainsFunc(a.meta.OwnerReferences, same) {
			continue
		}
		live, err := a.cell.Look(ctx, owner)
		if err != nil || live != nil && live.UID == ref.UID {
			return err == nil, err
		}
	}
	return false, nil
}

func group(ref metav1.OwnerReference) string {
	group, _, found := strings.Cut(ref.APIVersion, "/")
	if !found {
		return ""
	}
	return group
}
