package status

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
)

// Finding is something that an administrator should look at.
type Finding struct {
	// Cell is empty for a finding about the ring.
	Cell string `json:"cell,omitempty"`
	// Message says what is the matter, Next is a command that helps.
	Message string `json:"message"`
	Next    string `json:"next"`
}

// find judges what was seen. It is pure.
func find(program string, seen *overview.Overview) []Finding {
	out := []Finding{}
	ring := seen.Ring
	switch differs := ringchange.Differences(ring); {
	case ring.Status.Epoch == 0 && len(ring.Spec.Members) == 0:
		out = append(out, Finding{Message: "the ring has no cells yet", Next: program + " init --founder cell-1=FILE"})
	case ring.Status.Epoch == 0:
		out = append(out, Finding{Message: "cells are wanted, but the ring was not founded", Next: ringchange.Next(program, ring)})
	case len(differs) > 0 && ring.Status.Target == nil:
		out = append(out, Finding{Message: "the wanted ring differs from the current one: " + strings.Join(differs, " "), Next: ringchange.Next(program, ring)})
	}
	for _, cell := range ring.Status.Unavailable {
		out = append(out, failedOver(program, seen, cell))
	}
	for _, cell := range seen.Cells {
		if slices.Contains(ring.Status.Unavailable, cell.Name) {
			out = append(out, afterFailover(program, cell)...)
			continue
		}
		switch {
		case cell.State == overview.Unreachable && cell.Object == nil:
			out = append(out, Finding{Cell: cell.Name, Message: "cell " + cell.Name + " is in the ring, but there is no such Cell", Next: fmt.Sprintf("%s add %s --kubeconfig FILE", program, cell.Name)})
		case cell.State == overview.Unreachable && cell.Unasked:
			out = append(out, Finding{Cell: cell.Name, Message: "cell " + cell.Name + " cannot be asked: " + cell.Problem, Next: program + " status " + cell.Name})
		case cell.State == overview.Unreachable:
			out = append(out, Finding{Cell: cell.Name, Message: "cell " + cell.Name + " does not answer: " + cell.Problem, Next: program + " status " + cell.Name})
		case cell.State == overview.Idle:
			out = append(out, Finding{Cell: cell.Name, Message: "cell " + cell.Name + " is in no ring", Next: fmt.Sprintf("%s undrain %s   # or: %s remove %s", program, cell.Name, program, cell.Name)})
		}
		out = append(out, conditionFindings(program, cell)...)
	}
	return out
}

func conditionFindings(program string, cell overview.Cell) []Finding {
	if cell.Object == nil {
		return nil
	}
	var out []Finding
	for _, condition := range cell.Object.Status.Conditions {
		if condition.Status == metav1.ConditionFalse && condition.Type != v1alpha1.ConditionFenced && condition.Reason != v1alpha1.ReasonThawed {
			out = append(out, Finding{
				Cell:    cell.Name,
				Message: fmt.Sprintf("cell %s is not %s: %s", cell.Name, condition.Type, condition.Message),
				Next:    program + " status " + cell.Name,
			})
		}
	}
	return append(out, fenceFindings(program, cell)...)
}

// failedOver is what becomes of a cell that was failed over: it comes back, or it is given up.
func failedOver(program string, seen *overview.Overview, cell string) Finding {
	known := slices.ContainsFunc(seen.Cells, func(c overview.Cell) bool { return c.Name == cell && c.Object != nil })
	if !known {
		return Finding{
			Cell: cell, Message: "cell " + cell + " was failed over, and there is no such Cell any more",
			Next: fmt.Sprintf("%s remove %s --force   # gives it up; or, if it can come back: %s add %s --kubeconfig FILE", program, cell, program, cell),
		}
	}
	return Finding{
		Cell: cell, Message: "cell " + cell + " was failed over and is fenced",
		Next: fmt.Sprintf("%s failback %s   # once it answers again; one that is lost for good: %s remove %s --force", program, cell, program, cell),
	}
}

// afterFailover is what is to be said of a cell that was failed over: nobody counts on it, but it has to be frozen.
func afterFailover(program string, cell overview.Cell) []Finding {
	if cell.Object == nil {
		return nil
	}
	frozen := meta.FindStatusCondition(cell.Object.Status.Conditions, v1alpha1.ConditionFrozen)
	if frozen == nil || frozen.Status != metav1.ConditionFalse || frozen.Reason == v1alpha1.ReasonFreezeUnreachable {
		return nil
	}
	return []Finding{{
		Cell: cell.Name, Message: "cell " + cell.Name + " was failed over, answers, and is not frozen: " + frozen.Message,
		Next: program + " status " + cell.Name,
	}}
}

// fenceFindings are about a cell that does not refuse writes to objects in migration, or was added before
// anybody looked.
func fenceFindings(program string, cell overview.Cell) []Finding {
	found := Finding{Cell: cell.Name, Next: fmt.Sprintf("%s add %s --kubeconfig FILE   # again; it installs the fence", program, cell.Name)}
	fenced := meta.FindStatusCondition(cell.Object.Status.Conditions, v1alpha1.ConditionFenced)
	switch {
	case fenced == nil:
		found.Message = "cell " + cell.Name + " has no fence: writes to objects in migration would not be refused in it"
	case fenced.Status != metav1.ConditionFalse:
		return nil
	case fenced.Reason == v1alpha1.ReasonFenceUnsupported:
		found.Message = "cell " + cell.Name + " cannot be fenced: " + fenced.Message
		found.Next = fmt.Sprintf("turn the API admissionregistration.k8s.io/v1 of its apiserver on, then %s add %s --kubeconfig FILE", program, cell.Name)
	default:
		found.Message = "cell " + cell.Name + " is not fenced: " + fenced.Message
	}
	return []Finding{found}
}
