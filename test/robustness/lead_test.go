package robustness

import (
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Some steps of units come only where something was in the way. In every change of the ring something leads to each:
//
//	kept                            the driver is killed once a copy was verified
//	updated                         an object is scaled in its old cell between its copy and its flip
//	unmarked, released, discarded   an obstacle: the new cell has an object of a unit that is no copy, until all were seen

const (
	// heldPrefix begins the names of objects that have a finalizer, and that clients never delete.
	heldPrefix = prefix + "held-"
	// heldNames is how many there are: some of them move, whatever changes.
	heldNames = 30
	finalizer = "example.com/hold"
)

func heldKeys() []string {
	var out []string
	for i := range heldNames {
		out = append(out, keyOf(configMaps, fmt.Sprintf("%s%02d", heldPrefix, i)))
	}
	return out
}

func isHeld(key string) bool { return strings.HasPrefix(nameOf(key), heldPrefix) }

// obstructed are the steps that an obstacle leads to.
func obstructed() []string {
	return []string{string(migration.Unmarked), string(migration.Released), string(migration.Discarded)}
}

// obstacle is a secret in the cell that a unit moves to, of the name of one that is owned by the unit's object with a
// finalizer. So the copy of the owner is made, that of the secret cannot be, and all is taken back. No client knows of it.
type obstacle struct {
	name string
	in   access
}

// obstruct puts an obstacle in the way of a unit that moves, unless there is one, or all is done that it leads to.
func (p *proof) obstruct(plan faultPlan) {
	p.t.Helper()
	if p.obstacle != nil || p.passed(plan) {
		return
	}
	wanted, err := routing.Wanted(p.ring())
	p.must(err)
	for _, key := range heldKeys() {
		name := nameOf(key)
		at, _ := wanted.Table.Lookup(placement.NamespacedName, namespace, name)
		if !at.Moves() {
			continue
		}
		p.t.Logf("%s an obstacle for %s on its way from %s to %s", p.clock(), name, at.Old(), at.New())
		p.own(key)
		p.obstacle = &obstacle{name: name, in: p.cell(at.New())}
		p.block()
		return
	}
	p.t.Fatal("no object with a finalizer moves")
}

// passed says whether all steps have come that an obstacle leads to, and what is planned for them has happened.
func (p *proof) passed(plan faultPlan) bool {
	return !slices.ContainsFunc(obstructed(), func(step string) bool { return !p.here[step] || len(plan[step]) > 0 })
}

// own has the object of a key own a secret of its name.
func (p *proof) own(key string) {
	p.t.Helper()
	p.await("the object of "+key, func() bool {
		owner, err := resourceOf(p.through[0].client, key).Get(p.ctx, nameOf(key), metav1.GetOptions{})
		if err != nil {
			return false
		}
		secret := newObject("v1", "Secret", nameOf(key))
		secret.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.GetName(), UID: owner.GetUID()}})
		_, err = p.through[0].client.Resource(secrets).Namespace(namespace).Create(p.ctx, secret, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err)
	})
}

// block makes the obstacle, in the place of a tombstone where the unit was there before.
func (p *proof) block() {
	p.t.Helper()
	name, in := p.obstacle.name, p.obstacle.in
	mover := dynamicFor(p.t, fence.AsMover(p.box.Cell(p.t, in.name))).Resource(secrets).Namespace(namespace)
	p.await("the obstacle "+name+" in "+in.name, func() bool {
		_, err := in.client.Resource(secrets).Namespace(namespace).Create(p.ctx, newObject("v1", "Secret", name), metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err == nil
		}
		found, err := mover.Get(p.ctx, name, metav1.GetOptions{})
		if err == nil && statusOf(found) == history.Migrated {
			_ = mover.Delete(p.ctx, name, metav1.DeleteOptions{}) // it is tried again
			return false
		}
		return err == nil && statusOf(found) == "" && len(found.GetOwnerReferences()) == 0
	})
}

// clear takes the obstacle out of the way.
func (p *proof) clear() {
	p.t.Helper()
	p.await("the obstacle to be gone", func() bool {
		err := p.obstacle.in.client.Resource(secrets).Namespace(namespace).Delete(p.ctx, p.obstacle.name, metav1.DeleteOptions{})
		return err == nil || apierrors.IsNotFound(err)
	})
	p.obstacle = nil
}

// stepAside takes the obstacle out of the way of a run that was aborted: it is no copy, and would have to move to where the
// unit's own object is. The next run meets it again. While it is marked, the fence keeps it; the driver comes to another step.
func (p *proof) stepAside(run string) {
	if p.obstacle == nil || !p.breaker.wish(run).Abort {
		return
	}
	err := p.obstacle.in.client.Resource(secrets).Namespace(namespace).Delete(p.ctx, p.obstacle.name, metav1.DeleteOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		p.obstacle = nil
	}
}

func (p *proof) cell(name string) access {
	p.t.Helper()
	all := p.allCells()
	i := slices.IndexFunc(all, func(a access) bool { return a.name == name })
	if i < 0 {
		p.t.Fatalf("there is no cell %s", name)
	}
	return all[i]
}

// lead does what leads to other steps, where they have not come yet. done says that the driver is dead. What walks back
// keeps no copies.
func (p *proof) lead(driver *child, run, step string, plan faultPlan) (done bool) {
	p.t.Helper()
	switch step {
	case string(migration.Verified):
		if len(plan[step]) > 0 || p.here[string(migration.Kept)] || p.breaker.wish(run).Abort {
			return false
		}
		p.t.Logf("%s the driver is killed, so that its successor keeps a copy", p.clock())
		if p.keeper != nil && !p.keeper.away {
			p.end(p.keeper.spec.LockPath, termSignal)
			p.keeper.away = true
		}
		driver.kill()
		return true
	case string(migration.Discarded):
		if p.obstacle != nil && p.passed(plan) {
			p.clear()
		}
	}
	return false
}

// wanted says whether a step has to be told of again.
func (p *proof) wanted(step string, plan faultPlan) bool {
	switch step {
	case string(migration.Verified):
		return len(plan[step]) > 0 || !p.here[string(migration.Kept)]
	case string(migration.Unmarked), string(migration.Released), string(migration.Discarded):
		return len(plan[step]) > 0 || p.obstacle != nil
	}
	return len(plan[step]) > 0
}

// scaleBetween scales an object whose copy was verified, in the cell that it leaves: the fence does not see that, and the
// object has to be copied again. what is the cell and the name.
func (p *proof) scaleBetween(what string) {
	p.t.Helper()
	from, name, _ := strings.Cut(what, " ")
	if p.here[string(migration.Updated)] {
		return
	}
	op := history.Op{Key: keyOf(deployments, name), Verb: history.Scale, Replicas: p.marks.Add(1)}
	if outcome, _ := p.write(p.ctx, p.cell(from), op, nil); outcome == history.OK {
		p.direct.carry()
	}
}
