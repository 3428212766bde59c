package robustness

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/verify"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

// mostProblems is how many of one sort are told.
const mostProblems = 8

// judge compares what everybody saw with what is there.
func (p *proof) judge() {
	p.t.Helper()
	final := p.final()
	p.settle(final)
	moves := func(key string) bool { return p.moving[key] }
	record := p.record.Record()
	p.sum(record)
	p.report("answers that nothing explains", p.odd)
	p.report("histories without an order", validate.Linearizable(record.Ops, moves))
	p.report("writes that are not accounted for", validate.Conserved(record.Ops, final))
	p.report("keys that two cells accept writes for", validate.OwnedOnce(record.Rounds))
	p.report("objects that were changed while they moved", validate.Frozen(told(p.inCells)))
	p.report("writes of drivers from whom others had taken over", validate.Silent(record.Suspensions))
	owner, _ := p.owners()
	p.report("objects that are not in their place", validate.Placed(p.readCells(), owner, final))
	p.judgeBackup()
	p.report("findings of verify", p.findings(p.keeper != nil))
	for _, kind := range kinds() {
		var ops []history.Op
		for _, op := range record.Ops {
			if kindOf(op.Key) == kind {
				ops = append(ops, op)
			}
		}
		p.report("wrong events of "+kind.Resource, validate.Watched(told(p.shown, kind), ops, part(final, kind), moves))
	}
}

// findings are what the fsck has to say of the federation. Where there is a backup it is waited for, and whatever the fsck has
// not looked at is as bad as what it finds.
func (p *proof) findings(backup bool) []string {
	p.t.Helper()
	if backup {
		p.recopied()
	}
	result, err := verify.Run(p.t.Context(), verify.Options{RCP: p.rcp})
	p.must(err)
	var out []string
	if backup {
		out = append(out, result.Warnings...)
	}
	for _, f := range result.Findings {
		out = append(out, fmt.Sprintf("%s: %s in %s: %s", f.Class, f.Object, f.Cell, f.Message))
	}
	for _, c := range result.Cells {
		if c.State == verify.Unreachable {
			out = append(out, fmt.Sprintf("cell %s was not read: %s", c.Cell, c.Message))
		}
	}
	return out
}

func (p *proof) report(what string, problems []string) {
	p.t.Helper()
	if len(problems) == 0 {
		return
	}
	p.t.Errorf("%d %s:\n%s", len(problems), what, strings.Join(problems[:min(len(problems), mostProblems)], "\n"))
}

// final is what both routers show when nobody writes any more; they must agree.
func (p *proof) final() map[string]history.State {
	p.t.Helper()
	var all []map[string]history.State
	for _, via := range p.through {
		shown := map[string]history.State{}
		for _, kind := range kinds() {
			var list map[string]history.State
			p.await("a list via "+via.name, func() bool {
				list = p.list(p.ctx, via, kind, 0)
				return list != nil
			})
			maps.Copy(shown, list)
		}
		all = append(all, shown)
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		p.t.Errorf("two routers differ at the end:\n%s", diff)
	}
	return all[0]
}

// settle waits until watchers know what is there; that they come to know it is judged later.
func (p *proof) settle(final map[string]history.State) {
	for _, w := range p.shown {
		want := part(final, w.kind)
		p.await(w.name+" to show what is there of "+w.kind.Resource, func() bool { return cmp.Equal(want, w.stream.View()) })
	}
}

// part is what is of one kind.
func part(all map[string]history.State, kind schema.GroupVersionResource) map[string]history.State {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(key string, _ history.State) bool { return kindOf(key) != kind })
	return out
}

// told are the streams of watchers, of the kinds alone where some are given.
func told(watchers []*watcher, of ...schema.GroupVersionResource) []history.Told {
	var out []history.Told
	for _, w := range watchers {
		if len(of) == 0 || slices.Contains(of, w.kind) {
			out = append(out, w.stream.Told())
		}
	}
	return out
}

// readCells is what is in each cell, read directly.
func (p *proof) readCells() []history.Read {
	p.t.Helper()
	var out []history.Read
	for _, cell := range p.allCells() {
		read, err := readCell(p.ctx, cell)
		p.must(err)
		out = append(out, read)
	}
	return out
}

// owners name the cell of each key, and the one that backs it up, by the ring as it is.
func (p *proof) owners() (owner, backup func(key string) string) {
	p.t.Helper()
	snap, err := routing.FromRing(p.ring())
	p.must(err)
	at := func(key string) placement.Placement {
		found, _ := snap.Table.Lookup(placement.NamespacedName, namespace, nameOf(key))
		return found
	}
	return func(key string) string { return at(key).Old() }, func(key string) string { return at(key).OldBackup() }
}

// sum says how much was proven: a run in which nothing happened proves nothing.
func (p *proof) sum(record history.Record) {
	p.t.Helper()
	count := map[history.Outcome]int{}
	for _, op := range record.Ops {
		if op.Client < lister || op.Writes() {
			count[op.Outcome]++
		}
	}
	bypassed, events, relisted, bookmarks := 0, 0, 0, 0
	for _, op := range record.Ops {
		if op.Client > lister && op.Outcome == history.OK {
			bypassed++
		}
	}
	for _, stream := range told(p.shown) {
		for _, e := range stream.Events {
			switch {
			case e.Key != "":
				events++
			case e.Type == history.Relisted:
				relisted++
			case e.Type == history.Bookmarked:
				bookmarks++
			}
		}
	}
	p.t.Logf("%s: %d requests %v, %d of %d objects move, %d direct writes, %v refused by the fence, %d scales carried over, %d drivers suspended, %d events and %d bookmarks in %d watches, listed %d times, %d rounds of polls",
		p.clock(), len(record.Ops), count, len(p.moving), len(p.keys), bypassed, p.direct.fenced, p.direct.carried, len(record.Suspensions), events, bookmarks, len(p.shown), relisted, len(record.Rounds))
	if count[history.OK] == 0 || len(p.moving) == 0 || slices.Contains(p.faults, bypass) && bypassed == 0 {
		p.t.Error("nothing was written, or nothing moved")
	}
	if unseen := p.direct.unseen(); *stepsDisturbed == 0 && slices.Contains(p.faults, bypass) && len(unseen) > 0 {
		p.t.Errorf("the fence had no %v to refuse", unseen)
	}
	if *stepsDisturbed == 0 && p.direct.carried == 0 {
		p.t.Error("nothing was scaled while it was migrating")
	}
}
