package robustness

import (
	"fmt"
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

// judgeDrill compares what clients saw, and what was named, with what is there.
func (d *drill) judgeDrill() {
	d.t.Helper()
	final := d.final()
	record := d.record.Record()
	d.sumDrill(record.Ops)
	d.report("answers that nothing explains", d.odd)
	d.report("objects that were lost though they are protected", d.protectedLosses())
	d.report("histories without an order, or with losses that were not named, or named and not lost", validate.Recovered(record.Ops, d.losses))
	owner, _ := d.owners()
	d.report("objects that are not in their place", validate.Placed(d.readCells(), owner, final))
	d.judgeCopies()
	d.report("findings of verify", d.findings(true))
}

// protectedLosses are the losses of objects whose writes are answered once their copies are there.
func (d *drill) protectedLosses() []string {
	var out []string
	for _, loss := range d.losses {
		if policy := protectionOf(loss.Key); policy != "" {
			out = append(out, fmt.Sprintf("%s, which is protected by %s: %+v", loss.Key, policy, loss))
		}
	}
	return out
}

// sumDrill says how much was proven, and the figures that depend on the machine.
func (d *drill) sumDrill(ops []history.Op) {
	d.t.Helper()
	doomed := d.deceased[0].keys
	first, written, protected := int64(history.Never), 0, 0
	for _, op := range ops {
		if !op.Writes() || op.Outcome != history.OK || !doomed[op.Key] {
			continue
		}
		if op.Call > d.ordered {
			first = min(first, op.Return)
		}
		if op.Return < d.trouble.from {
			written++
			if protectionOf(op.Key) != "" {
				protected++
			}
		}
	}
	stale := 0
	for _, loss := range d.losses {
		if loss.Stale {
			stale++
		}
	}
	d.t.Logf("%s: %d requests; %d writes of %d objects of the dead cell, %d of them protected; %d objects lost, %d stale",
		d.clock(), len(ops), written, len(doomed), protected, len(d.losses)-stale, stale)
	d.t.Logf("from the command to the first write of an object of the dead cell %s, to the last copy being an object %s",
		time.Duration(first-d.ordered).Round(time.Millisecond), time.Duration(d.trouble.to-d.ordered).Round(time.Millisecond))
	calm := d.written(ops, d.calm)
	d.t.Logf("%d clients: %.0f acknowledged writes a second for %s of calm, %.0f in the %s from the death to the end of the failover",
		*clients, calm, time.Duration(d.calm.to-d.calm.from).Round(time.Millisecond), d.written(ops, d.trouble),
		time.Duration(d.trouble.to-d.trouble.from).Round(time.Millisecond))
	d.t.Logf("in that calm, clients and their record were busy for %s, control planes, routers and the backup daemon for %s", d.load.Test, d.load.Planes)
	if calm < *drillRate {
		d.t.Errorf("%.0f writes a second; at least %.0f are wanted", calm, *drillRate)
	}
	d.beside = history.Beside{Calm: d.others(ops, d.calm), Trouble: d.others(ops, d.trouble)}
	d.t.Logf("objects of other cells: before %s; during %s; p99 ratio %.2f",
		figures(d.beside.Calm), figures(d.beside.Trouble), validate.SlowdownOf([]history.Beside{d.beside}).Ratio)
	if written == 0 || protected == 0 || len(d.losses) == 0 && d.planned.backup != alive && d.planned.unsaved > mostUnsaved/4 {
		d.t.Error("nothing was written to the dead cell, or nothing was lost: this proves nothing")
	}
}

// written is how many writes of clients were acknowledged in a second.
func (d *drill) written(ops []history.Op, when span) float64 {
	writes := 0
	for _, op := range ops {
		if op.Client < lister && op.Writes() && op.Outcome == history.OK && op.Return >= when.from && op.Return < when.to {
			writes++
		}
	}
	return float64(writes) / time.Duration(when.to-when.from).Seconds()
}

// others are how long requests took, of those that were begun within a time, for objects that the deaths have nothing to do
// with; see [history.Beside].
func (d *drill) others(ops []history.Op, when span) []time.Duration {
	var took []time.Duration
	for _, op := range ops {
		if op.Client >= lister || op.Call < when.from || op.Call >= when.to || d.concerns(op.Key) {
			continue
		}
		if op.Outcome == history.Refused || op.Outcome == history.Unknown {
			took = append(took, requestPatience)
			continue
		}
		took = append(took, time.Duration(op.Return-op.Call))
	}
	slices.Sort(took)
	return took
}

// concerns says whether a key was in a cell when that died, or its copy was that its writes wait for.
func (d *drill) concerns(key string) bool {
	return slices.ContainsFunc(d.deceased, func(was deceased) bool {
		return was.keys[key] || was.copies[key] && protectionOf(key) != ""
	})
}

// figures say how long requests took; they are sorted.
func figures(took []time.Duration) string {
	if len(took) == 0 {
		return "no requests"
	}
	at := func(i int) time.Duration { return took[i].Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d requests, p50 %s, p99 %s, max %s", len(took), at(len(took)/2), at(len(took)*99/100), at(len(took)-1))
}
