package stream

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// step is what happens to an object in one of two cells. There is none of it there before an ADDED or after a DELETED.
type step struct {
	in           int // slot
	kind, name   string
	status       v1alpha1.RebalanceStatus
	moved, shown bool
	version      int64
	at           int // in the story
}

// stamp is the version under which a router shows the object.
func (s step) stamp() string {
	meta := wire.Meta{}
	if s.moved {
		meta.PlacementEpoch = "5"
	}
	return ObjectVersion(meta, s.version, s.in)
}

// life is what may happen to an object whose key moves from cell-1 to cell-2.
func life(r *rand.Rand, name string) []step {
	here := func(kind string, status v1alpha1.RebalanceStatus) step {
		return step{in: 1, kind: kind, name: name, status: status, shown: status != v1alpha1.Migrated}
	}
	there := func(kind string, status v1alpha1.RebalanceStatus) step {
		return step{in: 2, kind: kind, name: name, status: status, moved: true, shown: status != v1alpha1.Incoming}
	}
	steps := []step{here("ADDED", "")}
	for range r.IntN(3) {
		steps = append(steps, here("MODIFIED", ""))
	}
	var left []step     // what happens to a tombstone
	if r.IntN(4) == 0 { // deleted before its turn, and made anew
		steps = append(steps, here("DELETED", ""), there("ADDED", ""))
	} else {
		steps = append(steps, here("MODIFIED", v1alpha1.Migrating), there("ADDED", v1alpha1.Incoming),
			here("MODIFIED", v1alpha1.Migrated), there("MODIFIED", ""))
		left = []step{here("MODIFIED", v1alpha1.Migrated)}
	}
	steps = append(steps, left...)
	for range r.IntN(3) {
		steps = append(steps, there("MODIFIED", ""))
	}
	switch r.IntN(4) {
	case 0:
		steps = append(steps, there("DELETED", ""))
	case 1:
		steps = append(append(append(steps, there("DELETED", "")), left...), there("ADDED", ""))
	}
	steps = steps[:1+r.IntN(len(steps))]
	if last := steps[len(steps)-1]; last.status == v1alpha1.Migrated && steps[len(steps)-2].status == v1alpha1.Incoming {
		steps = append(steps, there("MODIFIED", "")) // what it comes to, and in the end it has
	}
	return steps
}

// story mixes the lives of some objects and numbers the steps in each cell.
func story(r *rand.Rand) []step {
	var lives [][]step
	for i := range 1 + r.IntN(4) {
		lives = append(lives, life(r, fmt.Sprint("x", i)))
	}
	var out []step
	versions := map[int]int64{1: 1, 2: 1}
	for len(lives) > 0 {
		i := r.IntN(len(lives))
		s := lives[i][0]
		versions[s.in]++
		s.version, s.at = versions[s.in], len(out)
		out = append(out, s)
		if lives[i] = lives[i][1:]; len(lives[i]) == 0 {
			lives = append(lives[:i], lives[i+1:]...)
		}
	}
	return out
}

// has is the last step of an object in a cell among those of a story, false where there is none of it.
func has(steps []step, in int, name string) (last step, there bool) {
	for _, s := range steps {
		if s.in == in && s.name == name {
			last, there = s, s.kind != "DELETED"
		}
	}
	return last, there
}

// position is where a cell stands after the steps.
func positionOf(steps []step, in int) int64 {
	at := int64(1)
	for _, s := range steps {
		if s.in == in {
			at = s.version
		}
	}
	return at
}

// listed is what a list shows that reads cell-1 after some steps and cell-2 after those and more: versions by name.
func listed(first, second []step) map[string]string {
	out := map[string]string{}
	for _, s := range second {
		here, isHere := has(first, 1, s.name)
		there, isThere := has(second, 2, s.name)
		switch {
		case isThere && (there.shown || isHere && !here.shown):
			out[s.name] = there.stamp()
		case isHere && here.shown:
			out[s.name] = here.stamp()
		}
	}
	return out
}

// recorded is a Past that knows a story. now are the steps that have happened.
type recorded struct {
	first, second, now []step
}

func (r *recorded) steps(source string) int {
	if source == "cell-1" {
		return 1
	}
	return 2
}

func (r *recorded) Behind(source string, version int64) bool {
	return version <= positionOf(r.now, r.steps(source))
}

func (r *recorded) Before(source string, o wire.Meta) (rank int64, gone bool, err error) {
	in := r.steps(source)
	if s, there := has(r.now, in, o.Name); there && s.shown {
		return 0, false, nil
	}
	other, before := 2, r.second
	if in == 2 {
		other, before = 1, r.first
	}
	s, there := has(before, other, o.Name)
	switch {
	case !there, s.status == v1alpha1.Migrated:
		return 0, true, nil
	case !s.shown:
		return 0, false, nil
	case other == 1:
		return 1, false, nil
	}
	return 10, false, nil
}

func (r *recorded) Lost(_ string, o wire.Meta, told bool) (bool, error) {
	_, there := has(r.now, 2, o.Name)
	had, isThere := has(r.first, 1, o.Name)
	return !there && (told || isThere && had.shown), nil
}

// happen writes steps into the logs of the planes.
func happen(planes map[int]*plane, steps []step) {
	for _, s := range steps {
		annotations := ""
		if s.moved {
			annotations = fmt.Sprintf(`{%q:"5"}`, v1alpha1.AnnotationPlacementEpoch)
		}
		f := frame(s.kind, s.name, s.version, annotations)
		if s.status != "" {
			f = strings.Replace(f, `"metadata":{`, fmt.Sprintf(`"metadata":{"labels":{%q:%q},`, v1alpha1.LabelRebalanceStatus, s.status), 1)
		}
		p := planes[s.in]
		p.set(func() { p.log = append(p.log, f) })
	}
}

// TestWatchesFromAListThatWasReadWhileKeysMovedGoForward: each begins where the list stood, in the one cell before and in
// the other one after some part of what happened. Versions never go back, and in the end the client has what there is.
func TestWatchesFromAListThatWasReadWhileKeysMovedGoForward(t *testing.T) {
	const stories = 1000
	expired := 0
	for seed := range uint64(stories) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			all := story(r)
			end := r.IntN(len(all) + 1) // of what has happened when the watch begins
			second := r.IntN(end + 1)   // when cell-2 was listed
			first := r.IntN(second + 1) // when cell-1 was
			past := &recorded{first: all[:first], second: all[:second], now: all[:end]}
			if wentOn := follow(t, r, past, all); !wentOn {
				expired++
			}
			if t.Failed() {
				t.Fatalf("seed %d: cell-1 was listed after %d steps, cell-2 after %d, the watch began after %d of %+v", seed, first, second, end, all)
			}
		})
		if t.Failed() {
			return
		}
	}
	if expired > stories/5 {
		t.Errorf("%d of %d watches ended with 410", expired, stories)
	}
}

// follow watches to the end of a story. It is false where the client has to list again.
func follow(t *testing.T, r *rand.Rand, past *recorded, all []step) bool {
	planes := map[int]*plane{1: newPlane(1), 2: newPlane(2)}
	happen(planes, past.now)
	slow := planes[1+r.IntN(2)] // tells what it has later than the other one
	slow.set(func() { slow.frozen = true })
	c := run(t, Config{Judge: moving, Past: past, Sources: []Source{
		planes[1].source(t, positionOf(past.first, 1)), planes[2].source(t, positionOf(past.second, 2)),
	}})
	synctest.Wait()
	slow.set(func() { slow.frozen = false })
	synctest.Wait()
	happen(planes, all[len(past.now):])
	synctest.Wait()
	c.finish()
	<-c.end
	view := listed(past.first, past.second)
	newest := maps.Clone(view)
	for len(c.events) > 0 {
		told := strings.Fields(c.next())
		if told[0] == "ERROR" {
			return false
		}
		kind, name, version := told[0], told[1], told[2]
		if before := newest[name]; len(version) < len(before) || len(version) == len(before) && version <= before {
			t.Errorf("%s %s %s after %s", kind, name, version, before)
		}
		newest[name], view[name] = version, version
		if kind == "DELETED" {
			delete(view, name)
		}
	}
	if diff := cmp.Diff(listed(all, all), view); diff != "" {
		t.Errorf("in the end the client has (-what there is +what it has):\n%s", diff)
	}
	return true
}
