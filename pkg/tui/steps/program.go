package steps

import (
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
)

// refresh is how often the elapsed times are drawn anew.
const refresh = 100 * time.Millisecond

// program adapts Model to bubbletea.
type program struct{ Model }

type (
	tick time.Time
	over struct{}
)

func nextTick() tea.Cmd { return tea.Tick(refresh, func(t time.Time) tea.Msg { return tick(t) }) }

// Init starts the clock.
func (p program) Init() tea.Cmd { return nextTick() }

// Update does no I/O.
func (p program) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case Event:
		p.Model = p.Apply(message)
	case tick:
		p.Model = p.At(time.Time(message))
		return p, nextTick()
	case tea.WindowSizeMsg:
		p.Width = message.Width
	case over:
		return p, tea.Quit
	}
	return p, nil
}

// View draws the model in place; the last picture stays.
func (p program) View() tea.View { return tea.NewView(Render(p.Model)) }

// Run shows the steps of do on a terminal while it runs, and returns its error. do may tell from any
// goroutine. environ is the process's environment, for what the terminal can do.
func Run(out io.Writer, environ []string, title string, now time.Time, do func(tell func(Event)) error) error {
	p := tea.NewProgram(program{Model{Title: title, Now: now, begin: now}},
		tea.WithInput(nil), tea.WithOutput(out), tea.WithEnvironment(environ), tea.WithoutSignalHandler(),
		// What is not known to be a terminal has no size of its own.
		tea.WithWindowSize(defaultWidth, defaultHeight))
	result := make(chan error, 1)
	go func() {
		err := do(func(e Event) { p.Send(e) })
		result <- err
		p.Send(over{})
	}()
	_, shown := p.Run()
	// The operation is what counts: it is waited for even when the terminal has gone away.
	if err := <-result; err != nil {
		return err
	}
	if shown != nil {
		return fmt.Errorf("draw progress: %w", shown)
	}
	return nil
}
