package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Fault is something that can be done to a cell of a sandbox, or undone.
type Fault string

// The faults. Restart and Resume undo what the others do.
const (
	// Kill ends the control plane as a power cut would. Its data stays.
	Kill Fault = "kill"
	// Pause stops the control plane where it stands: it accepts connections and does not answer.
	Pause Fault = "pause"
	// Partition takes the cell away from the federation: routers and daemons are refused, whoever connects to
	// the cell itself is not, and neither are its own controllers.
	Partition Fault = "partition"
	// Restart ends the control plane in order where it runs, and starts it.
	Restart Fault = "restart"
	// Resume lets a paused control plane go on, and ends a partition.
	Resume Fault = "resume"
)

// nowhere is an address at which nothing listens.
const nowhere = "https://" + Loopback + ":1"

// ChaosReport is what Chaos did.
type ChaosReport struct {
	// Changed is false where the cell was in that state already.
	Changed bool
	// Detail is for people: what is the case now.
	Detail string
}

// Chaos breaks a cell of a sandbox, for rehearsals, or mends it. It touches nothing but processes of that sandbox and
// what its own RCP says of the cell.
func (m *Manager) Chaos(ctx context.Context, sandbox, cell string, fault Fault) (report ChaosReport, err error) {
	b, err := m.breakable(sandbox, cell)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	err = m.step(string(fault)+" "+cell, func() (State, string, error) {
		report, err = b.chaos(ctx, cell, fault)
		if report.Changed {
			return Done, report.Detail, err
		}
		return Already, report.Detail, err
	})
	return report, err
}

// breakable opens a sandbox that has the cell. Whatever else is meant is refused: this is no tool for others' cells.
func (m *Manager) breakable(sandbox, cell string) (*box, error) {
	b, err := m.openExisting(sandbox, exit.Refusedf("%s is not a sandbox of this machine; nothing else is ever broken", sandbox).
		WithHint("kubectl cell sandbox ls"))
	if err != nil {
		return nil, err
	}
	if b.cell(cell) == nil {
		return nil, errors.Join(exit.Refusedf("sandbox %s has no cell %s: it has %s", sandbox, cell, strings.Join(b.planes()[1:], ", ")).
			WithHint("kubectl cell sandbox ls -o json"), b.close())
	}
	return b, nil
}

func (b *box) chaos(ctx context.Context, cell string, fault Fault) (ChaosReport, error) {
	switch fault {
	case Kill:
		killed, err := daemon.Kill(ctx, b.lockPath(cell))
		return ChaosReport{killed, "does not run"}, err
	case Pause:
		return b.pause(cell)
	case Partition:
		return b.partition(ctx, cell)
	case Restart:
		return b.restart(ctx, cell)
	case Resume:
		return b.resume(ctx, cell)
	}
	return ChaosReport{}, exit.Usagef("%q is nothing that can be done to a cell", fault)
}

func (b *box) pause(cell string) (ChaosReport, error) {
	holder, up, err := daemon.Inspect(b.lockPath(cell))
	if err != nil || !up {
		return ChaosReport{}, errors.Join(err, notRunning(b.name, cell))
	}
	report := ChaosReport{Changed: !daemon.Suspended(holder.PID), Detail: fmt.Sprintf("pid %d is stopped", holder.PID)}
	_, err = daemon.Suspend(b.lockPath(cell))
	return report, err
}

func notRunning(sandbox, cell string) error {
	return exit.Errorf(exit.Failure, "cell %s of sandbox %s does not run", cell, sandbox).
		WithHint("kubectl cell sandbox chaos restart %s --name %s", cell, sandbox)
}

// partition lets the federation look for the cell where it is not. That is how a cell behind a broken network is seen
// from there, and it needs neither rights nor a process in between.
func (b *box) partition(ctx context.Context, cell string) (ChaosReport, error) {
	report := ChaosReport{Changed: !b.cell(cell).Partitioned, Detail: "routers and daemons do not reach it"}
	kubeconfig, err := b.federationKubeconfig(cell)
	if err != nil {
		return ChaosReport{}, err
	}
	away, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return ChaosReport{}, fmt.Errorf("read kubeconfig of %s: %w", cell, err)
	}
	for _, cluster := range away.Clusters {
		cluster.Server = nowhere
	}
	if kubeconfig, err = clientcmd.Write(*away); err != nil {
		return ChaosReport{}, fmt.Errorf("write kubeconfig of %s: %w", cell, err)
	}
	b.cell(cell).Partitioned = true // before it is, so that it can always be healed
	if err := b.save(); err != nil {
		return ChaosReport{}, err
	}
	return report, b.tellAddress(ctx, cell, kubeconfig)
}

// heal ends a partition, if there is one.
func (b *box) heal(ctx context.Context, cell string) (bool, error) {
	if !b.cell(cell).Partitioned {
		return false, nil
	}
	kubeconfig, err := b.federationKubeconfig(cell)
	if err != nil {
		return false, err
	}
	if err := b.tellAddress(ctx, cell, kubeconfig); err != nil {
		return false, err
	}
	b.cell(cell).Partitioned = false
	return true, b.save()
}

func (b *box) tellAddress(ctx context.Context, cell string, kubeconfig []byte) error {
	rcp, err := b.controlPlane(rcpName).Config()
	if err != nil {
		return err
	}
	return replaceCredentials(ctx, rcp, cell, kubeconfig)
}

func (b *box) resume(ctx context.Context, cell string) (ChaosReport, error) {
	holder, up, err := daemon.Inspect(b.lockPath(cell))
	if err != nil || !up {
		return ChaosReport{}, errors.Join(err, notRunning(b.name, cell))
	}
	report := ChaosReport{Changed: daemon.Suspended(holder.PID), Detail: fmt.Sprintf("pid %d goes on", holder.PID)}
	if _, err := daemon.Resume(b.lockPath(cell)); err != nil {
		return report, err
	}
	healed, err := b.heal(ctx, cell)
	report.Changed = report.Changed || healed
	return report, err
}

// restart leaves a partition as it is: the network does not come back because a machine does.
func (b *box) restart(ctx context.Context, cell string) (ChaosReport, error) {
	binary, err := findControlPlane(b.m.Getenv, b.m.Executable)
	if err != nil {
		return ChaosReport{}, err
	}
	if _, err := daemon.Stop(ctx, b.lockPath(cell), stopGrace); err != nil {
		return ChaosReport{}, err
	}
	moved, err := b.ensurePort(cell)
	if err != nil {
		return ChaosReport{}, err
	}
	if err := b.save(); err != nil {
		return ChaosReport{}, err
	}
	plane := b.controlPlane(cell)
	plane.Binary = binary
	started, err := plane.Start(ctx)
	if err != nil {
		return ChaosReport{}, b.explain(cell, err)
	}
	if moved && !b.cell(cell).Partitioned {
		kubeconfig, err := b.federationKubeconfig(cell)
		if err != nil {
			return ChaosReport{}, err
		}
		err = b.tellAddress(ctx, cell, kubeconfig)
		return ChaosReport{true, started.Address}, err
	}
	return ChaosReport{true, started.Address}, nil
}

// SandboxOf is the sandbox that a context of the user's kubeconfig belongs to, or "".
func (m *Manager) SandboxOf(context string) string {
	names, err := m.Names()
	if err != nil {
		return ""
	}
	for _, name := range names {
		r, err := readRecord(m.dir(name))
		if err != nil {
			continue // it cannot be said what belongs to it
		}
		for _, own := range r.Kubeconfig.Contexts {
			if own == context {
				return r.Name
			}
		}
	}
	return ""
}
