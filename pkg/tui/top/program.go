package top

import (
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
)

// program adapts Model to bubbletea.
type program struct{ Model }

type over struct{}

// Init has nothing to begin with: frames come by themselves.
func (p program) Init() tea.Cmd { return nil }

// Update does no I/O.
func (p program) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case Frame:
		p.Model = p.Show(message)
	case tea.WindowSizeMsg:
		p.Width, p.Height = message.Width, message.Height
		p.Model = p.scroll(0)
	case tea.KeyPressMsg:
		next, leave := p.Press(message.String())
		if p.Model = next; leave {
			return p, tea.Quit
		}
	case over:
		return p, tea.Quit
	}
	return p, nil
}

// View draws on the whole screen.
func (p program) View() tea.View {
	view := tea.NewView(Render(p.Model))
	view.AltScreen = true
	return view
}

// Run shows frames until the user leaves. work is given a function that shows a frame, and a channel that is closed
// when the user has left; the screen ends when work returns, too.
func Run(in io.Reader, out io.Writer, environ []string, every time.Duration, work func(show func(Frame), left <-chan struct{})) error {
	p := tea.NewProgram(program{Model{Every: every}}, tea.WithInput(in), tea.WithOutput(out),
		tea.WithEnvironment(environ), tea.WithoutSignalHandler())
	left, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with work
		defer close(ended)
		work(func(f Frame) { p.Send(f) }, left)
		p.Send(over{})
	}()
	_, err := p.Run()
	close(left)
	<-ended
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return nil
}
