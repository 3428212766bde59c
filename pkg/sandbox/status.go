package sandbox

import (
	"time"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// Status is a sandbox as it is at this moment.
type Status struct {
	Name  string `json:"name"`
	State Health `json:"state"`
	// CellsUp of the Cells run, and are neither paused nor partitioned.
	CellsUp int    `json:"cellsUp"`
	Cells   []Part `json:"cells"`
	RCP     Part   `json:"rcp"`
	Router  Part   `json:"router"`
	Backup  Part   `json:"backup"`
	// Context through the router.
	Context string    `json:"context"`
	Created time.Time `json:"created"`
}

// Part is one process of a sandbox.
type Part struct {
	Name string `json:"name"`
	Up   bool   `json:"up"`
	// Paused is a process that is up and stopped, Partitioned a cell that the federation does not reach.
	Paused      bool   `json:"paused,omitempty"`
	Partitioned bool   `json:"partitioned,omitempty"`
	PID         int    `json:"pid,omitempty"`
	Address     string `json:"address,omitempty"`
	Context     string `json:"context,omitempty"`
	Log         string `json:"log"`
}

// Health says how much of a sandbox runs.
type Health string

// A sandbox is Up when all of it runs and Down when nothing does.
const (
	Up       Health = "Up"
	Degraded Health = "Degraded"
	Down     Health = "Down"
)

// Status looks at one sandbox, without waiting for an operation that changes it. The result is false
// where there is none.
func (m *Manager) Status(name string) (Status, bool, error) {
	if err := checkName("sandbox", name); err != nil {
		return Status{}, false, err
	}
	r, err := readRecord(m.dir(name))
	if err != nil || r.Name == "" {
		return Status{}, false, err
	}
	status, err := (&box{m: m, name: name, record: r}).status()
	return status, err == nil, err
}

// List looks at all sandboxes, sorted by name.
func (m *Manager) List() ([]Status, error) {
	names, err := m.Names()
	if err != nil {
		return nil, err
	}
	list := make([]Status, 0, len(names))
	for _, name := range names {
		status, found, err := m.Status(name)
		if err != nil {
			return nil, err
		}
		if found {
			list = append(list, status)
		}
	}
	return list, nil
}

func (b *box) inspectRouter() (daemon.Holder, bool, error) {
	return daemon.Inspect(b.lockPath(routerName))
}

func (b *box) status() (Status, error) {
	s := Status{Name: b.name, Context: b.name, Created: b.Created, Cells: []Part{}}
	var err error
	if s.RCP, err = b.part(rcpName); err != nil {
		return s, err
	}
	if s.Router, err = b.part(routerName); err != nil {
		return s, err
	}
	if s.Backup, err = b.part(backupName); err != nil {
		return s, err
	}
	up := count(s.RCP) + count(s.Router) + count(s.Backup)
	for _, cell := range b.Cells {
		part, err := b.part(cell.Name)
		if err != nil {
			return s, err
		}
		s.CellsUp += count(part)
		s.Cells = append(s.Cells, part)
	}
	switch up += s.CellsUp; {
	case up == 0:
		s.State = Down
	case up == len(s.Cells)+3 && b.Complete:
		s.State = Up
	default:
		s.State = Degraded
	}
	return s, nil
}

func count(p Part) int {
	if p.Up && !p.Paused && !p.Partitioned {
		return 1
	}
	return 0
}

func (b *box) part(name string) (Part, error) {
	p := Part{Name: name, Log: b.logPath(name)}
	if name != backupName { // which nobody talks to: it has no context, and another port each time
		p.Address, p.Context = b.address(name), b.context(name)
	}
	holder, up, err := daemon.Inspect(b.lockPath(name))
	if up {
		p.Up, p.PID, p.Paused = true, holder.PID, daemon.Suspended(holder.PID)
	}
	if cell := b.cell(name); cell != nil {
		p.Partitioned = cell.Partitioned
	}
	return p, err
}

// previousOf are the contexts that were current before the context named, where that is a sandbox's.
func (m *Manager) previousOf(context string) []string {
	name := m.SandboxOf(context)
	if name == "" {
		return nil
	}
	r, err := readRecord(m.dir(name))
	if err != nil {
		return nil
	}
	return r.Kubeconfig.Previous
}
