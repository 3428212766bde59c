package rebalance

import (
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// refresh is how often the times on the screen are drawn anew.
const refresh = time.Second

// program adapts Model to bubbletea.
type program struct {
	Model
	do func(Wish) error
}

type (
	tick   time.Time
	over   struct{}
	answer struct {
		wish Wish
		err  error
	}
	// successor tells the screen whether a backup daemon runs.
	successor bool
)

func nextTick() tea.Cmd { return tea.Tick(refresh, func(t time.Time) tea.Msg { return tick(t) }) }

// Init starts the clock.
func (p program) Init() tea.Cmd { return nextTick() }

// Update does no I/O: what a key asks for is done by a command, beside it.
func (p program) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case rebalance.Event:
		p.Model = p.Apply(message)
	case tick:
		p.Model = p.At(time.Time(message))
		return p, nextTick()
	case tea.WindowSizeMsg:
		p.Width, p.Height = message.Width, message.Height
	case tea.KeyPressMsg:
		var wish Wish
		if p.Model, wish = p.Press(message.String()); wish.Kind != "" {
			return p, p.carryOut(wish)
		}
	case answer:
		p.Model = p.Answer(message.wish, message.err)
	case successor:
		p.Successor = bool(message)
	case over:
		return p, tea.Quit
	}
	return p, nil
}

func (p program) carryOut(wish Wish) tea.Cmd {
	return func() tea.Msg { return answer{wish, p.do(wish)} }
}

// View draws the model on a screen of its own, which is gone when the program ends.
func (p program) View() tea.View {
	view := tea.NewView(Render(p.Model))
	view.AltScreen = true
	return view
}

// Terminal is what the screen is drawn on and keys come from.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	// Environ is the process's environment, for what the terminal can do.
	Environ []string
}

// Screen is what work is told of.
type Screen struct {
	// Tell shows an event. It may be called from any goroutine, also after the screen has gone.
	Tell func(rebalance.Event)
	// Successor says from now on whether a backup daemon runs.
	Successor func(bool)
}

// Run shows the screen while work runs, and returns its error. Wishes are carried out by do, each in its own
// goroutine. When the terminal goes away do is told to detach, and work is waited for all the same.
func Run(terminal Terminal, m Model, do func(Wish) error, work func(Screen) error) error {
	p := tea.NewProgram(program{m, do}, tea.WithInput(terminal.In), tea.WithOutput(terminal.Out),
		tea.WithEnvironment(terminal.Environ), tea.WithoutSignalHandler())
	result := make(chan error, 1)
	go func() { // ends with work
		result <- work(Screen{
			Tell:      func(e rebalance.Event) { p.Send(e) },
			Successor: func(there bool) { p.Send(successor(there)) },
		})
		p.Send(over{})
	}()
	_, shown := p.Run()
	var err error
	select {
	case err = <-result:
	default:
		// The screen has ended first: nobody sees or steers the run from here any more.
		_ = do(Wish{Kind: Detach})
		err = <-result
	}
	if err != nil {
		return err
	}
	if shown != nil {
		return fmt.Errorf("draw the rebalance: %w", shown)
	}
	return nil
}
