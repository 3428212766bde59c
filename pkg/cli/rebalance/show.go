package rebalance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	screen "github.com/kubecell/kubectl-cell/pkg/tui/rebalance"
)

const (
	// progressEvery is how often a line says how far the run is.
	progressEvery = 10 * time.Second
	// lookForBackup is how often the screen asks whether a backup daemon runs.
	lookForBackup = 5 * time.Second
)

func (s *session) onScreenOrNot() (*v1alpha1.Rebalance, error) {
	if s.live() {
		return s.onScreen()
	}
	// The run does not end because its reader has: it goes on without being told of.
	print := newWriter(s.env.Out, s.output.Format, func() {})
	return s.work(func(e rebalance.Event) {
		print(e)
		if s.halted() {
			s.leave(stuck) // nobody sees it, so that it would stand for ever
		}
	})
}

// live says whether the run is shown on a screen.
func (s *session) live() bool { return s.output.Format != "json" && s.tui.Live(s.env, s.env.Out) }

func (s *session) onScreen() (run *v1alpha1.Rebalance, err error) {
	terminal := screen.Terminal{
		In: s.env.In, Out: s.env.Out, Environ: []string{"TERM=" + s.env.Getenv("TERM"), "NO_COLOR=1"},
	}
	model := screen.Model{Run: s.name, Self: s.self, Now: s.env.Clock.Now()}
	err = screen.Run(terminal, model, s.wish, func(shown screen.Screen) error {
		ctx, cancel := context.WithCancel(s.working)
		defer cancel()
		go s.watchBackup(ctx, shown.Successor)
		var err error
		run, err = s.work(shown.Tell)
		return err
	})
	return run, err
}

// watchBackup ends with ctx.
func (s *session) watchBackup(ctx context.Context, tell func(bool)) {
	for {
		if runs, err := command.BackupDaemonRuns(ctx, s.fed); err == nil {
			tell(runs)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookForBackup):
		}
	}
}

// wish carries out what a key asked for.
func (s *session) wish(w screen.Wish) error {
	ctx, cancel := context.WithTimeout(s.working, askPatience)
	defer cancel()
	switch w.Kind {
	case screen.Pause:
		return rebalance.Pause(ctx, s.fed.Cell, s.name)
	case screen.Resume, screen.Retry:
		return rebalance.Resume(ctx, s.fed.Cell, s.name, rebalance.ResumeOptions{})
	case screen.Step:
		return rebalance.Step(ctx, s.fed.Cell, s.name, 1)
	case screen.Window:
		return rebalance.Adjust(ctx, s.fed.Cell, s.name, rebalance.Adjustment{Window: &w.Window})
	case screen.Abort:
		return rebalance.Abort(ctx, s.fed.Cell, s.name)
	case screen.PauseAndLeave:
		if err := rebalance.Pause(ctx, s.fed.Cell, s.name); err != nil {
			return err
		}
		s.leave(paused)
	case screen.Detach:
		s.leave(detached)
	}
	return nil
}

// newWriter returns what prints events: one JSON object a line, or one line for people. lost is called when
// nobody reads them any more.
func newWriter(out io.Writer, format string, lost func()) func(rebalance.Event) {
	if format == "json" {
		encoder := json.NewEncoder(printers.Verbatim(out))
		encoder.SetEscapeHTML(false)
		return func(e rebalance.Event) {
			if encoder.Encode(e) != nil {
				lost()
			}
		}
	}
	var told time.Time
	return func(e rebalance.Event) {
		if e.Type == rebalance.EventProgress {
			if since := e.Time.Sub(told); 0 <= since && since < progressEvery { // less, where the clock was put back
				return
			}
			told = e.Time
		}
		if text := line(e); text != "" {
			if _, err := fmt.Fprintf(out, "%s %s\n", e.Time.Format(time.TimeOnly), text); err != nil {
				lost()
			}
		}
	}
}

// line is an event in words, empty for one that says nothing new to people.
func line(e rebalance.Event) string {
	switch e.Type {
	case rebalance.EventPhase:
		return fmt.Sprintf("rebalance %s is %s", e.Run, e.Phase)
	case rebalance.EventDriver:
		if e.Driver == "" {
			return cmp.Or(e.Message, "nobody drives")
		}
		return e.Driver + " drives"
	case rebalance.EventMoved:
		text := fmt.Sprintf("%s %s → %s migrated", e.Unit.Key, e.Unit.From, e.Unit.To)
		if e.Unit.Blocked > 0 {
			text += fmt.Sprintf(" %.2fs", e.Unit.Blocked.Seconds())
		}
		return text
	case rebalance.EventFailed:
		text := fmt.Sprintf("%s %s → %s failed at %s, attempt %d: %s", e.Unit.Key, e.Unit.From, e.Unit.To, e.Unit.Step, e.Unit.Attempts, e.Message)
		if e.Unit.Retrying {
			text += " (may pass)"
		}
		return text
	case rebalance.EventWindow:
		text := fmt.Sprintf("window %d of %d", e.Window.Now, e.Window.Wanted)
		if e.Message != "" {
			text += ": " + e.Message
		}
		return text
	case rebalance.EventBlocked:
		return cmp.Or(e.Message, "all routers have acknowledged")
	case rebalance.EventCells:
		return cmp.Or(e.Message, "all cells can be used")
	case rebalance.EventStopped:
		return cmp.Or(e.Message, "failures count anew")
	case rebalance.EventLimited:
		return cmp.Or(e.Message, "all units may begin")
	case rebalance.EventProgress:
		return far(*e.Progress, e.Time)
	}
	return ""
}

// far says how far a run is.
func far(p rebalance.Progress, now time.Time) string {
	text := fmt.Sprintf("%s of %s moved, %d in flight, failed %d", printers.Count(p.Moved), printers.Count(p.Total), p.InFlight, p.Failed)
	if p.UnitsPerMinute > 0 {
		text += fmt.Sprintf(", %s/min", printers.Count(p.UnitsPerMinute))
	}
	if p.Completion != nil && p.Completion.After(now) {
		text += ", ETA " + p.Completion.Sub(now).Round(time.Second).String()
	}
	return text
}
