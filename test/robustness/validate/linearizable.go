package validate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Patience is how long Linearizable looks for an order of one object's operations.
const Patience = time.Minute

// Linearizable says of each object whose requests and answers have no order that explains them. moves tells the keys
// that may move; the versions of all others change by writes alone.
func Linearizable(ops []history.Op, moves func(key string) bool) []string {
	var out []string
	byKey := telling(ops)
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if problem := unordered(key, byKey[key], moves(key)); problem != "" {
			out = append(out, problem)
		}
	}
	return out
}

// telling are the operations by key. A read without an answer, and a refusal, say nothing.
func telling(ops []history.Op) map[string][]history.Op {
	byKey := map[string][]history.Op{}
	for _, op := range ops {
		if op.Outcome != history.Refused && (op.Writes() || op.Outcome != history.Unknown) {
			byKey[op.Key] = append(byKey[op.Key], op)
		}
	}
	return byKey
}

// unordered says that the operations of a key have no order; it is empty where they have one.
func unordered(key string, ops []history.Op, moves bool) string {
	switch judge(ops, moves) {
	case porcupine.Illegal:
		return fmt.Sprintf("%s: no order explains\n%s", key, lines(shortest(ops, moves)))
	case porcupine.Unknown:
		return fmt.Sprintf("%s: %d operations were not judged within %s", key, len(ops), Patience)
	}
	return ""
}

func judge(ops []history.Op, moves bool) porcupine.CheckResult {
	all := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		// Porcupine wants small numbers for concurrent clients; each operation is one of its own.
		all[i] = porcupine.Operation{ClientId: i, Input: op, Output: op, Call: op.Call, Return: op.Return}
	}
	return porcupine.CheckOperationsTimeout(model{moves: moves}.porcupine(), all, Patience)
}

// shortest is the shortest beginning of a history that has no order, for people. Operations that had not returned by
// then may have happened.
func shortest(ops []history.Op, moves bool) []history.Op {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b history.Op) int { return compare(a.Return, b.Return) })
	n, _ := slices.BinarySearchFunc(ops, true, func(at history.Op, _ bool) int {
		if judge(until(ops, at.Return), moves) == porcupine.Illegal {
			return 0
		}
		return -1
	})
	if n == len(ops) {
		n--
	}
	return until(ops, ops[n].Return)
}

// until is what was known at a moment.
func until(ops []history.Op, moment int64) []history.Op {
	var out []history.Op
	for _, op := range ops {
		switch {
		case op.Call > moment:
			continue
		case op.Return > moment && op.Writes():
			op.Return, op.Outcome, op.Seen = history.Never, history.Unknown, history.State{}
		case op.Return > moment:
			continue
		}
		out = append(out, op)
	}
	return out
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// lines are the operations by the time of their call, the last ones of many.
func lines(ops []history.Op) string {
	const most = 25
	slices.SortStableFunc(ops, func(a, b history.Op) int { return compare(a.Call, b.Call) })
	var out []string
	if len(ops) > most {
		out = append(out, fmt.Sprintf("    … %d before", len(ops)-most))
		ops = ops[len(ops)-most:]
	}
	for _, op := range ops {
		out = append(out, "    "+op.String())
	}
	return strings.Join(out, "\n")
}
