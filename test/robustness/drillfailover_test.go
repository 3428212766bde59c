package robustness

import (
	"slices"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// failOver has a cell die, and carries its failover out.
func (d *drill) failOver() {
	d.t.Helper()
	cell := d.die()
	died := d.record.Now()
	d.t.Logf("%s %s is dead", d.clock(), cell)
	d.await("both routers to notice", func() bool { return d.noticed(cell) })
	d.t.Logf("%s both routers have noticed", d.clock())
	preflight, name := d.order(cell)
	record := d.carryOut(name)
	ended := d.record.Now()
	d.settleBackup()
	d.note(record, preflight, span{died, ended})
}

// die has the backup fall silent, and a cell end in the middle of its writes.
func (d *drill) die() string {
	d.t.Helper()
	var living []string
	for _, cell := range d.allCells() {
		living = append(living, cell.name)
	}
	cell := living[d.random.IntN(len(living))]
	was := d.concerned(cell)
	_, err := daemon.Suspend(d.backupSpec().LockPath)
	d.must(err)
	d.await("writes that the backup misses", d.unsaved(was.keys))
	d.bury(was)
	if d.plan.zombie {
		d.signal(d.box.Dir(cell)+"/lock", syscall.SIGSTOP)
	} else {
		d.box.Kill(d.t, cell)
	}
	switch d.plan.backup {
	case dead:
		d.end(d.backupSpec().LockPath, syscall.SIGKILL)
	case alive:
		_, err = daemon.Resume(d.backupSpec().LockPath)
		d.must(err)
	}
	return cell
}

// unsaved says whether as many writes of such objects as planned were acknowledged from now on.
func (d *drill) unsaved(of map[string]bool) func() bool {
	from := len(d.record.Since(0))
	return func() bool {
		n := 0
		for _, op := range d.record.Since(from) {
			if of[op.Key] && op.Writes() && op.Outcome == history.OK && protectionOf(op.Key) == "" {
				n++
			}
		}
		return n >= d.plan.unsaved
	}
}

// concerned are the keys that the death of a cell will be about.
func (d *drill) concerned(cell string) deceased {
	d.t.Helper()
	snap, err := routing.FromRing(d.ring())
	d.must(err)
	was := deceased{cell, map[string]bool{}, map[string]bool{}}
	for _, key := range d.keys {
		at, _ := snap.Table.Lookup(placement.NamespacedName, namespace, nameOf(key))
		if at.Old() == cell || at.New() == cell {
			was.keys[key] = true
		}
		if at.OldBackup() == cell || at.NewBackup() == cell {
			was.copies[key] = true
		}
	}
	return was
}

// bury takes a cell off the list of those that live.
func (d *drill) bury(was deceased) {
	d.deceased = append(d.deceased, was)
	if d.trouble.from == 0 {
		d.trouble.from = d.record.Now()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cells = slices.DeleteFunc(slices.Clone(d.cells), func(a access) bool { return a.name == was.name })
}

// noticed says whether nobody gets an answer from a cell any more.
func (d *drill) noticed(cell string) bool {
	d.t.Helper()
	facts, err := failover.Read(d.ctx, d.rcp, cell)
	d.must(err)
	return !facts.Answers && len(facts.Witnesses) == len(d.through) &&
		!slices.ContainsFunc(facts.Witnesses, func(w failover.Witness) bool { return w.Err != nil || w.View.Reachable })
}

// order agrees to what the preflight says, and has the failover begin.
func (d *drill) order(cell string) (preflight *failover.Finding, run string) {
	d.t.Helper()
	spec := v1alpha1.FailoverSpec{Cell: cell, ConfirmEpoch: d.ring().Status.Epoch}
	began := d.record.Now()
	asked, err := failover.Start(d.ctx, d.rcp, spec, true)
	d.must(err)
	spec.AcceptLoss = failover.Loss(&asked.Finding.FailoverReport)
	d.t.Logf("%s preflight in %s: %s", d.clock(), time.Duration(d.record.Now()-began).Round(time.Millisecond), failover.Summary(&asked.Finding.FailoverReport))
	if d.ordered == 0 {
		d.ordered = d.record.Now()
	}
	started, err := failover.Start(d.ctx, d.rcp, spec, false)
	d.must(err)
	d.must(started.Refused)
	return asked.Finding, started.Run.Name
}

// carryOut has one driver after another at work until the failover has ended.
func (d *drill) carryOut(name string) *v1alpha1.Failover {
	d.t.Helper()
	driver := d.child(failOverEnv, name)
	late := time.After(runPatience)
	for {
		select {
		case line, running := <-driver.lines:
			record, err := d.client.Failovers().Get(d.ctx, name, metav1.GetOptions{})
			d.must(err)
			switch {
			case running:
				d.atStep(driver, line)
			case !record.Status.Phase.Final():
				driver = d.child(failOverEnv, name)
			case record.Status.Phase != v1alpha1.FailoverSucceeded:
				d.t.Fatalf("failover %s ended %s: %+v", name, record.Status.Phase, record.Status)
			default:
				return record
			}
		case <-late:
			driver.kill()
			d.t.Fatalf("failover %s did not end: the ring is %+v", name, d.ring().Status)
		}
	}
}

// atStep does what is planned for a step, once. A step that a daemon has taken in the meantime is never asked about.
func (d *drill) atStep(driver *child, line string) {
	d.t.Helper()
	word, ok := stepIn(line)
	if !ok {
		return
	}
	step := failover.StepName(word)
	if d.plan.backup == restarted && d.plan.restartAt == step {
		d.t.Logf("%s the backup daemon is restarted at %s", d.clock(), step)
		d.plan.backup = alive
		d.done.add(word, backedUp, 1)
		d.restartBackup()
	}
	if n := slices.Index(d.plan.kills, step); n >= 0 {
		d.t.Logf("%s the driver dies at %s", d.clock(), step)
		d.plan.kills = slices.Delete(d.plan.kills, n, n+1)
		d.done.add(word, killDriver, 1)
		driver.kill()
		return
	}
	driver.goOn(false)
}

// settleBackup has the backup daemon at work, whatever became of it.
func (d *drill) settleBackup() {
	d.t.Helper()
	switch d.plan.backup {
	case dead:
		d.start(d.backupSpec())
	case restarted:
		d.restartBackup()
	}
	d.plan.backup = alive
}

// note takes down what a failover names, and what it was agreed to.
func (d *drill) note(record *v1alpha1.Failover, preflight *failover.Finding, when span) {
	d.t.Helper()
	s := &record.Status
	if d.trouble.to == 0 {
		d.trouble.to = when.to
	}
	if s.KeptObjects > 0 {
		d.t.Errorf("%d copies were left behind: %+v", s.KeptObjects, s.Kept)
	}
	var times []string
	for _, step := range s.Steps {
		times = append(times, step.Name+" "+step.CompletionTime.Sub(step.StartTime.Time).Round(time.Millisecond).String())
	}
	d.t.Logf("%s %s is failed over: %s; %s", d.clock(), s.Driver, failover.Summary(s.Report), strings.Join(times, ", "))
	known := append(append(slices.Clone(preflight.Lost), preflight.Stale...), preflight.Corrupt...)
	if d.planned.backup == dead && !d.planned.rebalance && len(d.deceased) == 1 {
		d.foretold(s.Report, preflight)
	}
	for i, names := range [][]string{s.Report.LostKeys, s.Report.StaleKeys, s.Report.CorruptKeys} {
		for _, name := range names {
			if !slices.Contains(known, name) {
				d.t.Errorf("%s is named by the failover, and was not by the preflight that was agreed to", name)
			}
			key, ours := keyNamed(name)
			switch {
			case ours:
				d.lose(record.Spec.Cell, key, i > 0, when)
			case i == 0 && d.planned.rebalance: // which may have brought it after the backup fell silent
				d.lostExhibits[name] = true
			case i == 0:
				d.t.Errorf("%s is named as lost, and had its copy", name)
			default:
				d.t.Errorf("%s is named as stale, and nobody has written to it", name)
			}
		}
	}
}

// foretold wants the preflight to have named exactly what the failover names: nobody makes a copy in between, but a router
// that is about to answer a protected write.
func (d *drill) foretold(report *v1alpha1.FailoverReport, preflight *failover.Finding) {
	d.t.Helper()
	for what, lists := range map[string][2][]string{
		"lost": {preflight.LostKeys, report.LostKeys}, "stale": {preflight.StaleKeys, report.StaleKeys}, "corrupt": {preflight.CorruptKeys, report.CorruptKeys},
	} {
		before, after := unprotected(lists[0]), unprotected(lists[1])
		if !slices.Equal(before, after) {
			d.t.Errorf("%s by the preflight: %v; by the failover: %v", what, before, after)
		}
	}
	if preflight.Unknown > 0 {
		d.t.Errorf("the preflight counts %d objects that nobody knows, and all had their copies", preflight.Unknown)
	}
}

// unprotected are the names of objects, in order, whose writes do not wait for their copies.
func unprotected(names []string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, name := range names {
			if key, ours := keyNamed(name); (!ours || protectionOf(key) == "") && !yield(name) {
				return
			}
		}
	})
}

// lose takes down that an object was named, with its last copies.
func (d *drill) lose(cell, key string, stale bool, when span) {
	d.t.Helper()
	loss := history.Loss{Cell: cell, Key: key, Stale: stale, From: when.from, To: when.to}
	for in, copied := range d.sealed.of(cell, key) {
		opened, _ := d.openEnvelope(in, copied)
		loss.Copies = append(loss.Copies, opened.State)
	}
	d.losses = append(d.losses, loss)
}

// keyNamed is the key of an object by the name that reports give it.
func keyNamed(name string) (string, bool) {
	for _, kind := range kinds() {
		if rest, ok := strings.CutPrefix(name, failover.Key(kind.Group, kind.Resource, namespace, "")); ok && strings.HasPrefix(rest, prefix) {
			return keyOf(kind, rest), true
		}
	}
	return "", false
}

// beginToMove has units on their way, where that is planned. The returned function waits until all are there.
func (d *drill) beginToMove() (moved func()) {
	d.t.Helper()
	if !d.plan.rebalance {
		return func() {}
	}
	members := d.ring().Status.Current.Members
	member := members[d.random.IntN(len(members))]
	weight := int32(2 * placement.DefaultWeight)
	if member.Weight == weight {
		weight = placement.DefaultWeight // an earlier drill has doubled it
	}
	_, err := federation.SetWeight(d.ctx, d.rcp, member.Cell, weight, federation.Options{})
	d.must(err)
	failures := int32(len(d.keys))
	// A tenth of all units moves, in some ten seconds.
	started, err := rebalance.Start(d.ctx, d.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{
		Window: 10, Rate: int32(max(2, len(d.keys)/100)), MaxFailures: &failures,
	}})
	d.must(err)
	run, ended := started.Run.Name, make(chan struct{})
	go func() {
		defer close(ended)
		for d.ctx.Err() == nil && !d.phase(run).Final() {
			driver := d.drive(run)
			for range driver.lines {
				driver.goOn(false)
			}
		}
	}()
	d.await("units to be on their way", func() bool {
		return slices.ContainsFunc(d.run(run).Status.Pairs, func(p v1alpha1.PairProgress) bool { return p.Moved > 0 })
	})
	d.t.Logf("%s %s is under way", d.clock(), run)
	return func() {
		<-ended
		d.t.Logf("%s %s is %s", d.clock(), run, d.phase(run))
		if d.phase(run) != v1alpha1.RebalanceSucceeded {
			d.t.Errorf("%s ended %s", run, d.phase(run))
		}
	}
}
