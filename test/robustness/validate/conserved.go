package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Conserved says which acknowledged writes are not accounted for by what is there at the end: the state of an object
// is that of a write after which no acknowledged one began.
func Conserved(ops []history.Op, final map[string]history.State) []string {
	byKey := map[string][]history.Op{}
	for key := range final {
		byKey[key] = nil
	}
	for _, op := range ops {
		if op.Writes() {
			byKey[op.Key] = append(byKey[op.Key], op)
		}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		state, exists := final[key]
		for _, problem := range conserved(byKey[key], state, exists) {
			out = append(out, key+": "+problem)
		}
	}
	return out
}

func conserved(ops []history.Op, state history.State, exists bool) []string {
	if !exists {
		return accounted("its absence", ops, touchesContent, func(op history.Op) bool { return op.Verb == history.Delete })
	}
	out := accounted("mark "+state.Mark, ops, touchesContent, func(op history.Op) bool {
		return op.Verb != history.Delete && touchesContent(op) && op.Mark == state.Mark
	})
	out = append(out, accounted("birth "+state.Born, ops, bears, func(op history.Op) bool {
		return op.Verb == history.Create && op.Mark == state.Born
	})...)
	if state.Replicas != 0 {
		out = append(out, accounted(fmt.Sprintf("replicas %d", state.Replicas), ops, touchesReplicas, func(op history.Op) bool {
			return op.Verb != history.Delete && touchesReplicas(op) && op.Replicas == state.Replicas
		})...)
	}
	// A create makes an object without a status.
	return append(out, accounted(fmt.Sprintf("report %d", state.Reported), ops, touchesStatus, func(op history.Op) bool {
		return op.Verb != history.Delete && touchesStatus(op) && op.Reported == state.Reported
	})...)
}

// accounted wants one write that made what is there, and no acknowledged write of the same thing that began after it
// had returned.
func accounted(what string, ops []history.Op, touches, made func(history.Op) bool) []string {
	var last *history.Op
	acknowledged := false
	for i, op := range ops {
		acknowledged = acknowledged || op.Outcome == history.OK && touches(op)
		if op.MayHaveWritten() && made(op) && (last == nil || op.Return > last.Return) {
			last = &ops[i]
		}
	}
	if last == nil {
		if what == "its absence" && !acknowledged {
			return nil
		}
		return []string{what + " is there at the end, and no write that may have succeeded made it"}
	}
	var out []string
	for _, op := range ops {
		if op.Outcome == history.OK && touches(op) && op.Call > last.Return {
			out = append(out, fmt.Sprintf("%s is there at the end, though this was acknowledged later: %s", what, op))
		}
	}
	return out
}

func bears(op history.Op) bool { return op.Verb == history.Create || op.Verb == history.Delete }

func touchesContent(op history.Op) bool {
	return bears(op) || op.Verb == history.Update || op.Verb == history.Patch
}

func touchesStatus(op history.Op) bool { return bears(op) || op.Verb == history.Report }

func touchesReplicas(op history.Op) bool { return bears(op) || op.Verb == history.Scale }
