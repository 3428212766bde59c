package fence

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// Freeze makes a cell refuse the writes of everybody but the movers, and says whether it had to change
// anything. It may be repeated at any time. A freeze that was installed is in force milliseconds later where the cell has
// its fence, and about a second later elsewhere; see [AwaitFrozen]. It stays through restarts of the cell.
//
// config needs the rights that [Install] needs. [ErrUnsupported] says that the cell cannot be frozen.
func Freeze(ctx context.Context, config *rest.Config) (changed bool, err error) {
	all, err := freezeParts()
	if err != nil {
		return false, err
	}
	if err := supported(ctx, config); err != nil {
		return false, err
	}
	client, err := open(config)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		differences, _, err := p.compare(ctx, client)
		if err != nil {
			return changed, err
		}
		if len(differences) == 0 {
			continue // a frozen cell would refuse to have the mover's rights written, were it the same
		}
		if _, err := p.install(ctx, client); err != nil {
			return changed, fmt.Errorf("install %s: %w", p.name(), err)
		}
		changed = true
	}
	return changed, nil
}

// CheckFrozen compares the freeze of a cell with what it must be. It writes nothing. A cell that is in use
// has none: its freeze is [Missing].
func CheckFrozen(ctx context.Context, config *rest.Config) (Report, error) {
	all, err := freezeParts()
	if err != nil {
		return Report{}, err
	}
	return check(ctx, config, all)
}

// AwaitFrozen returns nil once the apiserver at config.Host refuses a write that it would take otherwise, and
// lets the mover write; see [Await] for how it tries, and for what it does not promise.
func AwaitFrozen(ctx context.Context, config *rest.Config) error {
	revision, err := revisionOf(freezeSpec(""))
	if err != nil {
		return err
	}
	return await(ctx, config, probe{policies: []string{FreezeName, EarlyName}, what: "freeze", subject: "a write", revision: revision})
}

// Thaw lets everybody write again who may, about a second later; see [AwaitThawed]. What is not there is no
// error. The mover keeps his rights: the fence needs them.
func Thaw(ctx context.Context, config *rest.Config) error {
	all, err := freezeParts()
	if err != nil {
		return err
	}
	return remove(ctx, config, all[len(rights(all)):])
}

// AwaitThawed returns nil once the apiserver at config.Host does not refuse a write because the cell is frozen.
func AwaitThawed(ctx context.Context, config *rest.Config) error {
	p := probe{policies: []string{FreezeName}}
	if err := p.connect(config); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	var why error
	err := wait.PollUntilContextCancel(ctx, probeEvery, true, func(ctx context.Context) (bool, error) {
		why = p.create(ctx, p.others)
		return why == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the freeze is still in force at %s: %w", config.Host, why)
	}
	return nil
}
