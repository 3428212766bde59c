package robustness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Somebody writes directly into cells who knows of no router:
//
//	the object there     what is sent                         what has to come of it
//	unmarked             patch, status and delete as it is    done, or refused by the fence where it was marked in between
//	unmarked             anything else, if it is as read      done, unless it was changed
//	migrating            patch, status, delete; update        refused by the fence
//	migrating            scale, if it is as read              done, and carried over by the driver
//	migrated, incoming   patch, status, delete; update        refused by the fence
//
// He makes no objects, since he cannot know where one belongs. A scale is always of the version that he read, and never of
// a tombstone or a copy: the fence does not see it, and nobody is promised that it is kept there. An update is of the version
// that he read as well, without the mark: what is replaced as a whole may be another life of the name by then.

// mostMarked is how many objects of one cell and one state are written to at a step, in all ways.
const mostMarked = 2

// direct counts the writes to objects in migration.
type direct struct {
	mu sync.Mutex // guards what follows
	// fenced were refused by the fence; by what was asked for.
	fenced map[history.Verb]int
	// carried are scales of objects that were migrating.
	carried int
}

func (d *direct) fence(verb history.Verb) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fenced == nil {
		d.fenced = map[history.Verb]int{}
	}
	d.fenced[verb]++
}

func (d *direct) carry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.carried++
}

// fencedVerbs are those that the fence has to refuse.
func fencedVerbs() []history.Verb {
	return []history.Verb{history.Update, history.Patch, history.Report, history.Delete}
}

// directVerbs are all that is written directly.
func directVerbs() []history.Verb { return append(fencedVerbs(), history.Scale) }

// unseen are those that the fence never refused.
func (d *direct) unseen() []history.Verb {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(fencedVerbs(), func(verb history.Verb) bool { return d.fenced[verb] > 0 })
}

// keepBypassing writes into any cell: by turns to an object that is in migration, and to any.
func (t *traffic) keepBypassing(ctx, stopping context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, lister))
	for n := 0; stopping.Err() == nil; n++ {
		cells, verbs := t.allCells(), directVerbs()
		cell, verb, versioned := cells[random.IntN(len(cells))], verbs[random.IntN(len(verbs))], random.IntN(2) == 0
		key := t.keys[random.IntN(len(t.keys))]
		if n%2 == 0 {
			if all := byStatus(t.marked(ctx, cell)); len(all) > 0 {
				some := all[random.IntN(len(all))]
				t.bypass(ctx, cell, some[random.IntN(len(some))], verb, versioned)
			}
		} else if o := t.readIn(ctx, cell, key); o != nil {
			t.bypass(ctx, cell, found{key, o}, verb, versioned)
		}
		sleep(stopping, thinking)
	}
}

// found is an object that was read in a cell.
type found struct {
	key    string
	object *unstructured.Unstructured
}

// marked are the objects of the proof that are in migration in a cell; none where it does not answer.
func (t *traffic) marked(ctx context.Context, cell access) []found {
	asking, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	var out []found
	for _, kind := range kinds() {
		list, err := cell.client.Resource(kind).Namespace(namespace).List(asking, metav1.ListOptions{LabelSelector: v1alpha1.LabelRebalanceStatus})
		if err != nil {
			return nil
		}
		for i := range list.Items {
			if list.Items[i].GetAnnotations()[born] != "" {
				out = append(out, found{keyOf(kind, list.Items[i].GetName()), &list.Items[i]})
			}
		}
	}
	return out
}

// byStatus groups objects: there are few that are migrating among the many that have.
func byStatus(all []found) [][]found {
	var out [][]found
	for _, status := range []history.Status{history.Migrating, history.Migrated, history.Incoming} {
		some := slices.DeleteFunc(slices.Clone(all), func(f found) bool { return statusOf(f.object) != status })
		if len(some) > 0 {
			out = append(out, some)
		}
	}
	return out
}

// readIn is the object of a key in a cell; nil where there is none, or no answer.
func (t *traffic) readIn(ctx context.Context, cell access, key string) *unstructured.Unstructured {
	asking, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	o, err := resourceOf(cell.client, key).Get(asking, nameOf(key), metav1.GetOptions{})
	if err != nil || o.GetAnnotations()[born] == "" {
		return nil
	}
	return o
}

// bypassMoving writes in each cell to some of the objects that are in migration there, and to every tenth key that moves.
// It returns how many of the writes a cell took, or its fence refused.
func (p *proof) bypassMoving() int {
	var writing sync.WaitGroup
	var mu sync.Mutex
	bit := 0
	write := func(cell access, what found, verb history.Verb) {
		writing.Go(func() {
			if p.bypass(p.ctx, cell, what, verb, verb == history.Scale) {
				mu.Lock()
				defer mu.Unlock()
				bit++
			}
		})
	}
	verbs := directVerbs()
	for _, cell := range p.allCells() {
		for _, some := range byStatus(p.marked(p.ctx, cell)) {
			for _, what := range some[:min(len(some), mostMarked)] {
				for _, verb := range verbs {
					write(cell, what, verb)
				}
			}
		}
		for i, key := range p.keys {
			if !p.moving[key] || i%10 != 0 {
				continue
			}
			if o := p.readIn(p.ctx, cell, key); o != nil {
				write(cell, found{key, o}, verbs[i/10%len(verbs)])
			}
		}
	}
	writing.Wait()
	return bit
}

// bypass makes one write to an object as it was read in a cell; versioned makes its version a condition also where that is
// not needed. done says that the cell took it, or that its fence refused it.
func (t *traffic) bypass(ctx context.Context, cell access, what found, verb history.Verb, versioned bool) (done bool) {
	verb, sent := t.bypassAs(what, verb)
	if !sent {
		return false
	}
	status := statusOf(what.object)
	op := history.Op{Key: what.key, Verb: verb, Mark: fmt.Sprintf("direct-%d", t.marks.Add(1))}
	if verb == history.Scale || verb == history.Update || versioned && status == "" && verb != history.Delete {
		op.IfVersion = what.object.GetResourceVersion()
	}
	switch verb {
	case history.Scale:
		op.Replicas = t.marks.Add(1)
	case history.Report:
		op.Reported = t.marks.Add(1)
	}
	outcome, fenced := t.write(ctx, cell, op, what.object)
	if outcome == history.OK && status == history.Migrating && verb == history.Scale {
		t.direct.carry()
	}
	return outcome == history.OK || fenced
}

// bypassAs is what can be asked for of an object instead: what a kind has no subresource for becomes a Patch. sent is false
// for what is never written.
func (t *traffic) bypassAs(what found, verb history.Verb) (as history.Verb, sent bool) {
	status := statusOf(what.object)
	switch {
	case kindOf(what.key) != deployments && (verb == history.Scale || verb == history.Report):
		return history.Patch, true
	case verb == history.Scale:
		return verb, status == "" || status == history.Migrating
	case verb == history.Delete:
		return verb, !isHeld(what.key)
	}
	return verb, true
}

// write makes one write in a cell, past the routers, to an object as it was read there; an Update alone needs that. fenced
// says that the fence refused it.
func (t *traffic) write(ctx context.Context, cell access, op history.Op, known *unstructured.Unstructured) (outcome history.Outcome, fenced bool) {
	asking, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	if known != nil {
		known = known.DeepCopy()
		unstructured.RemoveNestedField(known.Object, "metadata", "labels", v1alpha1.LabelRebalanceStatus)
	}
	op.Client, op.Via = lister+1, cell.name
	op = t.record.Do(op, func(op *history.Op) {
		seen, err := ask(asking, cell, op, known)
		answer(op, seen, err)
		fenced = fence.IsRefusal(err)
		if op.Outcome == history.Conflict || op.Outcome == history.Absent {
			op.Outcome = history.Refused // another life of the name: nothing that routers would say
		}
		// The condition and the answer name the cell's version, which is not the one that routers show.
		op.IfVersion, op.Seen.Version = "", ""
	})
	if fenced {
		t.direct.fence(op.Verb)
	}
	if (op.Verb == history.Patch || op.Verb == history.Update) && op.Outcome == history.OK && op.Seen.Born == "" {
		t.strange("%s: the answer is no object", op)
	}
	return op.Outcome, fenced
}
