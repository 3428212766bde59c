package history_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

func TestAnOperationWithoutAnAnswerNeverReturns(t *testing.T) {
	r := history.NewRecorder()
	for _, outcome := range []history.Outcome{history.OK, history.Unknown} {
		op := r.Do(history.Op{Verb: history.Patch}, func(o *history.Op) { o.Outcome = outcome })
		if op.Call > op.Return || (op.Return == history.Never) != (outcome == history.Unknown) {
			t.Errorf("%s was called at %d and returned at %d", outcome, op.Call, op.Return)
		}
	}
	if n := len(r.Record().Ops); n != 2 {
		t.Errorf("%d operations were kept; want 2", n)
	}
}

func TestAStreamKnowsWhatItWasTold(t *testing.T) {
	r := history.NewRecorder()
	s := r.Stream("it")
	one, two := history.State{Mark: "1"}, history.State{Mark: "2"}
	s.Add(history.Event{Type: history.Added, Key: "a", State: one})
	s.Add(history.Event{Type: history.Relisted, Items: map[string]history.State{"b": one, "c": one}})
	s.Add(history.Event{Type: history.Resumed})
	s.Add(history.Event{Type: history.Modified, Key: "b", State: two})
	s.Add(history.Event{Type: history.Deleted, Key: "c", State: two})
	if diff := cmp.Diff(map[string]history.State{"b": two}, s.View()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if told := r.Record().Streams; len(told) != 1 || len(told[0].Events) != 5 || told[0].Events[4].At < told[0].Events[0].At {
		t.Errorf("the record is %+v", told)
	}
}
