package launch

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// State of a daemon.
type State string

// States of a daemon.
const (
	// Up: it runs, and says that it can be used.
	Up State = "Up"
	// Starting: it runs, and does not serve yet.
	Starting State = "Starting"
	// Unready: it runs, and says that it cannot be used, or nothing.
	Unready State = "Unready"
	// Stale: it does not run, and its lock file says that it has not ended in order.
	Stale State = "Stale"
	// Down: it does not run.
	Down State = "Down"
	// Unknown: it does not run for this user, and may run as a unit whose state is for other users.
	Unknown State = "Unknown"
)

// Status of one daemon of this machine. It is an API: fields are only ever added.
type Status struct {
	Name  string     `json:"name"`
	State State      `json:"state"`
	PID   int        `json:"pid,omitempty"`
	Since *time.Time `json:"since,omitempty"`
	// Address under which it serves.
	Address string `json:"address,omitempty"`
	// AdminURL of health and metrics.
	AdminURL string `json:"adminURL,omitempty"`
	// Identity is the name of a router's Lease.
	Identity string `json:"identity,omitempty"`
	// Epoch of the ring that a router serves.
	Epoch int64 `json:"epoch,omitempty"`
	// Cells of the ring, and how many of them a router reaches.
	Cells   int `json:"cells,omitempty"`
	CellsUp int `json:"cellsUp,omitempty"`
	// Role of a backup daemon: leader or standby.
	Role    string `json:"role,omitempty"`
	Version string `json:"version,omitempty"`
	// Supervisor starts it again when it ends.
	Supervisor string `json:"supervisor,omitempty"`
	// Unit is the systemd unit in whose state directory the daemon was found, or may be where the state is Unknown.
	Unit     string `json:"unit,omitempty"`
	StateDir string `json:"stateDir"`
	// Log is its file; absent where the log goes to standard error alone.
	Log string `json:"log,omitempty"`
	// Detail says why the state is neither Up nor Down.
	Detail string `json:"detail,omitempty"`
	// Backups are what the cells hold for one another, as a backup daemon that works knows.
	Backups []Backup `json:"backups,omitempty"`
}

type statusOptions struct {
	program    Program
	stateDir   string
	exitStatus bool
	output     printers.Output
	printer    *printers.Printer
}

func newStatus(p Program) *cobra.Command {
	o := &statusOptions{program: p}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the " + p.Noun + " of this machine runs, and how it is",
		Long: "Show whether the " + p.Noun + " of this machine runs, and how it is.\n\n" +
			"Up: it can be used. Starting: not yet. Unready: its admin port does not say so. Stale: it has ended without\n" +
			"order, such as by a crash; the next start puts that right. Down: it does not run. Unknown: it may run as\n" +
			"a unit of systemd, whose state directory (" + unitsHome + "/" + p.Name + ") is for other users.",
		Example: p.example("How is it?", "status") + "\n\n" + p.example("In a script", "status --exit-status >/dev/null"),
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	p.stateDirFlag(cmd.Flags(), &o.stateDir)
	cmd.Flags().BoolVar(&o.exitStatus, "exit-status", false, "End with 3 unless the "+p.Noun+" is Up")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *statusOptions) Complete([]string) (err error) {
	o.printer, err = o.output.Printer()
	return err
}

// Run looks at the lock, and asks the one who holds it.
func (o *statusOptions) Run(ctx context.Context) error {
	at, err := o.program.find(o.stateDir)
	if err != nil {
		return err
	}
	status, err := o.program.status(ctx, at)
	if err != nil {
		return err
	}
	err = o.printer.Print(o.program.Env.Out, printers.View{
		Document: printers.NewDocument("DaemonList", status.Epoch, []Status{status}),
		Names:    func() []string { return []string{status.Name} },
		Text: func(w io.Writer, layout printers.Layout) error {
			if err := table(status, layout, o.program.Env.Clock.Now()).Write(w); err != nil || len(status.Backups) == 0 {
				return err
			}
			fmt.Fprintln(w)
			return backups(status.Backups, layout).Write(w)
		},
	})
	if err == nil && o.printer.Text() {
		o.program.noteHidden(at, "status", "systemctl status "+o.program.Unit())
	}
	if err == nil && status.State == Down && !at.ofUnit() && o.stateDir == "" && o.printer.Text() {
		fmt.Fprintf(o.program.Env.ErrOut, "none was started on this machine by this user; that of a sandbox is shown by: %s sandbox ls\n", o.program.Env.Program)
	}
	if err == nil && o.exitStatus && status.State != Up {
		return exit.Silent(exit.Findings)
	}
	return err
}

// Look is the status of the daemon whose state directory is the usual one or that of its unit, for a report of the whole
// machine.
func (p Program) Look(ctx context.Context) (Status, error) {
	at, err := p.find("")
	if err != nil {
		return Status{}, err
	}
	return p.status(ctx, at)
}

func (p Program) status(ctx context.Context, at place) (Status, error) {
	s := Status{Name: p.Name, State: Down, StateDir: at.dir}
	holder, held, err := daemon.Inspect(at.lock())
	if err != nil {
		return s, command.Unusable(at.dir, err)
	}
	if at.unit {
		s.Unit = p.Unit()
	}
	if !held {
		err := s.left(at)
		if s.State == Down && at.hidden != "" {
			s.State, s.Unit, s.StateDir, s.Detail = Unknown, p.Unit(), at.hidden, at.hidden+" is for other users"
		}
		return s, err
	}
	s.PID, s.Since, s.Version, s.Log = holder.PID, &holder.StartTime, holder.Version, holder.Log
	s.Address, s.AdminURL, s.Supervisor = holder.Address, holder.Admin, holder.Supervisor
	if s.Address == "" {
		s.State, s.Detail = Starting, "it does not serve yet"
		return s, nil
	}
	s.State = Up
	if s.AdminURL == "" {
		return s, nil
	}
	if _, err = AskAt(s.AdminURL)(ctx, "/readyz"); err == nil {
		err = p.Examine(ctx, AskAt(s.AdminURL), &s)
	}
	if err != nil {
		s.State, s.Detail = Unready, err.Error()
	}
	return s, nil
}

// left says what a daemon that did not end in order has left. Its pid may be somebody else's by now.
func (s *Status) left(at place) error {
	left, err := daemon.Left(at.lock())
	if err != nil || left.PID == 0 {
		return err
	}
	s.State = Stale
	switch program := daemon.ProgramOf(left.PID); {
	case !daemon.Alive(left.PID):
		s.Detail = fmt.Sprintf("lock left, pid %d is gone", left.PID)
	case program == "":
		s.Detail = fmt.Sprintf("lock left, pid %d is now another program", left.PID)
	default:
		s.Detail = fmt.Sprintf("lock left, pid %d is now %q", left.PID, program)
	}
	return nil
}

// ready is what the column READY shows.
func (s Status) ready() string {
	switch {
	case s.State != Up:
		return "-"
	case s.Cells > 0:
		return fmt.Sprintf("%d/%d", s.CellsUp, s.Cells)
	}
	return cmp.Or(s.Role, "yes")
}

func table(s Status, layout printers.Layout, now time.Time) printers.Table {
	t := layout.Table("NAME", "STATE", "PID", "SINCE", "ADDRESS", "EPOCH", "READY", "VERSION")
	pid, since, epoch := "-", "-", "-"
	if s.PID != 0 {
		pid = strconv.Itoa(s.PID)
	}
	if s.Since != nil {
		since = printers.Age(now.Sub(*s.Since))
	}
	if s.Epoch != 0 {
		epoch = strconv.FormatInt(s.Epoch, 10)
	}
	row := []string{s.Name, string(s.State), pid, since, cmp.Or(s.Detail, s.Address, "-"), epoch, s.ready(), cmp.Or(s.Version, "-")}
	if layout.Wide {
		t.Header = append(t.Header, "ADMIN", "LOG", "STATE-DIR")
		row = append(row, cmp.Or(s.AdminURL, "-"), cmp.Or(s.Log, "-"), s.StateDir)
	}
	t.Rows = append(t.Rows, row)
	return t
}
