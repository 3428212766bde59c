package migration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// family is a chain of three owners and an object beside it.
type family struct {
	b       *bed
	name    string
	kinds   []kind
	before  []*unstructured.Unstructured
	refound bool
}

// newFamily makes the objects, the youngest first in the unit.
func newFamily(b *bed, name string) *family {
	b.t.Helper()
	f := &family{b: b, name: name, kinds: []kind{services, secrets, configMaps, deployments}}
	head := `metadata: {name: ` + name + `, annotations: {who: me}`
	root := b.make(b.old, deployments, head+`, finalizers: [example.com/hold]}
spec: {replicas: 5, selector: {matchLabels: {app: x}}, template: `+podTemplate+`}
status: {replicas: 5, readyReplicas: 4}`)
	child := b.make(b.old, configMaps, head+owners(deployments, root)+`}`)
	b.make(b.old, secrets, head+`, finalizers: [example.com/hold]`+owners(configMaps, child)+`}`)
	b.make(b.old, services, head+`}
spec: {ports: [{port: 80}]}`)
	for _, k := range f.kinds {
		f.before = append(f.before, b.get(b.old, k, name))
	}
	return f
}

func owners(k kind, owner *unstructured.Unstructured) string {
	raw, _ := json.Marshal([]metav1.OwnerReference{ownerRef(k, owner)})
	return `, ownerReferences: ` + string(raw)
}

// unit is the family as it was at first, or as it is now.
func (f *family) unit() migration.Unit {
	var objects []migration.Object
	for n, k := range f.kinds {
		obj := f.before[n]
		if f.refound {
			if obj = f.b.get(f.b.old, k, f.name); obj == nil {
				continue
			}
		}
		objects = append(objects, f.b.found(k, obj))
	}
	return f.b.unit(objects...)
}

// arrived wants all objects in the new cell as they were, owned by each other, and tombstones in the old.
func (f *family) arrived() {
	f.b.t.Helper()
	uids := map[types.UID]types.UID{}
	var after []*unstructured.Unstructured
	for n, k := range f.kinds {
		obj := f.b.get(f.b.new, k, f.name)
		if obj == nil {
			f.b.t.Fatalf("%s %s is not in the new cell", k.Kind, f.name)
		}
		after = append(after, obj)
		uids[f.before[n].GetUID()] = obj.GetUID()
	}
	for n, k := range f.kinds {
		want := f.before[n].DeepCopy()
		refs := want.GetOwnerReferences()
		for i := range refs {
			refs[i].UID = uids[refs[i].UID]
		}
		if len(refs) > 0 {
			want.SetOwnerReferences(refs)
		}
		if diff := same(want, after[n]); diff != "" {
			f.b.t.Errorf("%s %s (-old +new):\n%s", k.Kind, f.name, diff)
		}
		tomb := f.b.get(f.b.old, k, f.name)
		if tomb.GetLabels()[v1alpha1.LabelRebalanceStatus] != string(v1alpha1.Migrated) ||
			len(tomb.GetFinalizers())+len(tomb.GetOwnerReferences()) > 0 {
			f.b.t.Errorf("%s %s: tombstone %v", k.Kind, f.name, tomb.Object["metadata"])
		}
	}
}

// stays wants all objects in the old cell as they were.
func (f *family) stays() {
	f.b.t.Helper()
	for n, k := range f.kinds {
		f.b.untouched(k, f.before[n])
	}
}

// clutter puts into the way what earlier runs may have left in the new cell: copies of other objects, and
// a tombstone.
func (f *family) clutter() {
	f.b.t.Helper()
	label := func(status v1alpha1.RebalanceStatus) string {
		return `, labels: {` + v1alpha1.LabelRebalanceStatus + `: ` + string(status) + `}`
	}
	head := `metadata: {name: ` + f.name
	elsewhere := label(v1alpha1.Incoming) + `, finalizers: [example.com/other], annotations: {` + v1alpha1.AnnotationFromCell + `: elsewhere}`
	root := f.b.make(f.b.new, deployments, head+elsewhere+`}
spec: {selector: {matchLabels: {app: z}}, template: {metadata: {labels: {app: z}}, spec: {containers: [{name: c, image: i}]}}}`)
	f.b.make(f.b.new, configMaps, head+elsewhere+owners(deployments, root)+`}`)
	f.b.make(f.b.new, secrets, head+label(v1alpha1.Migrated)+`}`)
}

// killAfter runs what can do nothing any more after the nth step, as if the process had ended, and says whether it got
// there. Requests that are in flight then are carried out.
func killAfter(mover *migration.Mover, n int, do func(context.Context)) (name migration.StepName, killed bool) {
	seen := 0
	killed = killWhen(mover, func(s migration.StepName) bool { seen++; name = s; return seen == n }, do)
	return name, killed
}

// killWhen is killAfter the step of which it is true.
func killWhen(mover *migration.Mover, now func(migration.StepName) bool, do func(context.Context)) (killed bool) {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	mover.Step = func(s migration.Step) {
		if !killed && now(s.Name) {
			killed = true
			kill()
		}
	}
	do(ctx)
	return killed
}

// begin has an earlier call end when all copies are there.
func (f *family) begin() {
	mover, verified := f.b.barred(), 0
	killWhen(mover, func(s migration.StepName) bool {
		if s == migration.Verified {
			verified++
		}
		return verified == len(f.kinds)
	}, func(ctx context.Context) { mover.Move(ctx, f.unit()) })
}

// awaitCollected waits until the garbage collector has let go of the copies that are being deleted.
func (f *family) awaitCollected() {
	f.b.t.Helper()
	for _, k := range f.kinds {
		if obj := f.b.get(f.b.new, k, f.name); obj != nil && obj.GetDeletionTimestamp() != nil {
			f.b.awaitAbsent(f.b.new, k, f.name)
		}
	}
}

// resumes are what a move that is killed may find, and the steps that it takes then at least.
var resumes = map[string]struct {
	found func(*family)
	// barrier is that of the move.
	barrier error
	want    []migration.StepName
}{
	"nothing": {func(*family) {}, nil, []migration.StepName{
		migration.Marked, migration.Barred, migration.Created, migration.Stated, migration.Verified, migration.Flipped, migration.Revealed,
	}},
	"clutter": {(*family).clutter, nil, []migration.StepName{
		migration.Marked, migration.Barred, migration.Created, migration.Stated, migration.Verified, migration.Flipped, migration.Revealed,
		migration.Released, migration.Discarded, migration.Updated,
	}},
	"copies": {(*family).begin, nil, []migration.StepName{
		migration.Barred, migration.Kept, migration.Verified, migration.Flipped, migration.Revealed,
	}},
	"copies that it gives up": {(*family).begin, errors.New("a router does not answer"), []migration.StepName{
		migration.Unmarked, migration.Released, migration.Discarded,
	}},
}

// TestResume kills the move after every single step: the next call ends as an undisturbed one does.
func TestResume(t *testing.T) {
	for finding, c := range resumes {
		for _, refound := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s refound %t", finding, refound), func(t *testing.T) {
				b := newBed(t)
				resume := func(name string, now func(migration.StepName) bool) (killed bool) {
					f := newFamily(b, name)
					c.found(f)
					mover := b.mover()
					mover.Barrier = func(context.Context) error { return c.barrier }
					killed = killWhen(mover, now, func(ctx context.Context) { mover.Move(ctx, f.unit()) })
					f.refound = refound
					f.awaitCollected()
					if result := b.barred().Move(t.Context(), f.unit()); result.Outcome != migration.Moved {
						t.Fatalf("%s: %+v", name, result)
					}
					f.arrived()
					if t.Failed() {
						t.Fatal(name)
					}
					return killed
				}
				steps := map[migration.StepName]int{}
				resume("undisturbed", func(s migration.StepName) bool { steps[s]++; return false })
				for _, step := range c.want {
					if steps[step] == 0 {
						t.Errorf("never %s", step)
					}
				}
				// Objects of one generation take a step in any order: the nth of each step is what a run has.
				for step, times := range steps {
					for n := range times {
						seen := -1
						if !resume(fmt.Sprintf("%s-%d", step, n), func(s migration.StepName) bool {
							if s == step {
								seen++
							}
							return seen == n
						}) {
							t.Errorf("not killed after %s, %d", step, n)
						}
					}
				}
			})
		}
	}
}

// TestUndoAfterEveryStep: before the first flip all is as it was, after it nothing is touched; and an undo
// that is killed itself is finished by the next.
func TestUndoAfterEveryStep(t *testing.T) {
	b := newBed(t)
	for n := 1; ; n++ {
		f := newFamily(b, fmt.Sprintf("f%d", n))
		mover := b.barred()
		flipped := false
		_, killed := killAfter(mover, n, func(ctx context.Context) { mover.Move(ctx, f.unit()) })
		if !killed {
			break
		}
		for _, k := range f.kinds {
			flipped = flipped || b.get(b.old, k, f.name).GetLabels()[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated)
		}
		mover = b.mover()
		killAfter(mover, n%5+1, func(ctx context.Context) { _ = mover.Undo(ctx, f.unit()) })
		err := b.mover().Undo(t.Context(), f.unit())
		switch {
		case flipped && errors.Is(err, migration.ErrFlipped):
			b.move(f.unit(), migration.Moved)
			f.arrived()
		case !flipped && err == nil:
			f.stays()
		default:
			t.Errorf("after step %d, flipped %t: %v", n, flipped, err)
		}
		if t.Failed() {
			t.Fatalf("after step %d", n)
		}
	}
}

// TestAScaleBetweenCopyAndFlipIsNotLost: the fence does not see it.
func TestAScaleBetweenCopyAndFlipIsNotLost(t *testing.T) {
	for _, at := range []migration.StepName{migration.Created, migration.Verified} {
		t.Run(string(at), func(t *testing.T) {
			b := newBed(t)
			f := newFamily(b, "f")
			mover := b.barred()
			scaled := false
			mover.Step = func(s migration.Step) {
				if s.Name == at && !scaled {
					scaled = true
					f.scale(9)
				}
			}
			if result := mover.Move(t.Context(), f.unit()); result.Outcome != migration.Moved {
				t.Fatalf("%+v", result)
			}
			if replicas := replicasOf(b.get(b.new, deployments, f.name)); replicas != 9 {
				t.Errorf("%d replicas", replicas)
			}
		})
	}
}

// TestADeletionAtAnyStep leaves no mark and no copy that does not count.
func TestADeletionAtAnyStep(t *testing.T) {
	b := newBed(t)
	for victim := range 4 {
		for n := 1; ; n++ {
			f := newFamily(b, fmt.Sprintf("f%d-%d", victim, n))
			mover := b.barred()
			seen := 0
			mover.Step = func(migration.Step) {
				if seen++; seen == n {
					b.patch(b.old, f.kinds[victim], f.name, `{"metadata":{"finalizers":null}}`)
					if err := b.in(b.old, f.kinds[victim]).Delete(t.Context(), f.name, metav1.DeleteOptions{}); err != nil {
						t.Error(err)
					}
				}
			}
			result := mover.Move(t.Context(), f.unit())
			if result.Begun {
				result = b.mover().Move(t.Context(), f.unit())
			}
			for _, k := range f.kinds {
				for _, s := range []side{b.old, b.new} {
					obj := b.get(s, k, f.name)
					if obj == nil || obj.GetDeletionTimestamp() != nil {
						continue
					}
					if status := b.found(k, obj).Status; status != "" && status != v1alpha1.Migrated {
						t.Fatalf("victim %d, step %d: %s %s is left %s: %+v", victim, n, k.Kind, f.name, status, result)
					}
				}
			}
			if seen < n {
				break
			}
		}
	}
}

// TestTwoUnitsAtOnce do not meet.
func TestTwoUnitsAtOnce(t *testing.T) {
	b := newBed(t)
	families := []*family{newFamily(b, "f1"), newFamily(b, "f2")}
	results := make(chan migration.Result)
	mover := b.mover()
	for _, f := range families {
		go func() { results <- mover.Move(t.Context(), f.unit()) }()
	}
	for range families {
		if result := <-results; result.Outcome != migration.Moved {
			t.Errorf("%+v", result)
		}
	}
	for _, f := range families {
		f.arrived()
	}
}

// barred is a mover with a barrier.
func (b *bed) barred() *migration.Mover {
	mover := b.mover()
	mover.Barrier = func(context.Context) error { return nil }
	return mover
}
