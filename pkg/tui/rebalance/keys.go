package rebalance

import (
	"fmt"
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// WishKind is what a person at the screen wants of the run.
type WishKind string

const (
	// Pause and Resume the run.
	Pause  WishKind = "pause"
	Resume WishKind = "resume"
	// Step moves one window, then pauses.
	Step WishKind = "step"
	// Window sets the window to Wish.Window.
	Window WishKind = "window"
	// Retry what failed. It is only wished for while the run is paused.
	Retry WishKind = "retry"
	// Abort makes the run walk back.
	Abort WishKind = "abort"
	// Detach leaves the screen, and the run to another driver.
	Detach WishKind = "detach"
	// PauseAndLeave pauses the run and leaves the screen.
	PauseAndLeave WishKind = "pause and leave"
)

// Wish is carried out by whoever called [Run].
type Wish struct {
	Kind   WishKind
	Window int32
}

// Press returns the model after a key, and what it asks for: no kind for nothing. Keys are named as bubbletea
// names them.
func (m Model) Press(key string) (Model, Wish) {
	m.notice = ""
	if m.leaving {
		return m, Wish{}
	}
	if key == "ctrl+c" {
		m.mode = quitting
		return m, Wish{}
	}
	switch m.mode {
	case quitting:
		return m.pressQuitting(key)
	case aborting:
		m.mode = watching
		if key == "y" {
			return m, Wish{Kind: Abort}
		}
		m.notice = "not aborted"
		return m, Wish{}
	case helping, detailing:
		if key == "esc" || key == "enter" || key == "q" || key == "?" {
			m.mode = watching
			return m, Wish{}
		}
	}
	return m.pressWatching(key)
}

func (m Model) pressWatching(key string) (Model, Wish) {
	switch key {
	case "p":
		if m.pausing() {
			return m, Wish{Kind: Resume}
		}
		return m, Wish{Kind: Pause}
	case "s":
		return m, Wish{Kind: Step}
	case "+", "=", "-":
		return m.pressWindow(key == "-")
	case "r":
		if m.pausing() {
			return m, Wish{Kind: Retry}
		}
		m.notice = "what failed is tried again by itself while the run is not paused"
	case "a":
		m.mode = aborting
	case "d":
		if m.Self == "" || m.Successor {
			m.leaving = true
			return m, Wish{Kind: Detach}
		}
		m.mode = quitting
	case "q":
		m.mode = quitting
	case "?":
		m.mode = helping
	case "enter":
		if len(m.failures) > 0 {
			m.mode = detailing
		}
	case "up", "k":
		m.selected = max(0, m.selected-1)
	case "down", "j":
		m.selected = max(0, min(m.selected+1, len(m.failures)-1))
	}
	return m, Wish{}
}

func (m Model) pressQuitting(key string) (Model, Wish) {
	switch key {
	case "d":
		m.leaving = true
		return m, Wish{Kind: Detach}
	case "p":
		m.leaving = true
		return m, Wish{Kind: PauseAndLeave}
	case "s", "esc", "q", "n":
		m.mode = watching
	}
	return m, Wish{}
}

// pressWindow takes the next number of units that people choose.
func (m Model) pressWindow(less bool) (Model, Wish) {
	steps := []int32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
	now := m.window.Wanted
	i, exact := slices.BinarySearch(steps, now)
	switch {
	case less:
		i--
	case exact:
		i++
	}
	if now == 0 || i < 0 || i >= len(steps) {
		return m, Wish{}
	}
	return m, Wish{Kind: Window, Window: steps[i]}
}

// Answer returns the model after a wish was carried out, or could not be.
func (m Model) Answer(wish Wish, err error) Model {
	if err != nil {
		m.notice = fmt.Sprintf("cannot %s: %v", wish.Kind, err)
		m.leaving = false
		return m
	}
	switch wish.Kind {
	case Pause:
		m.notice = "pausing: units in flight finish"
	case Resume:
		m.notice = "resumed"
	case Retry:
		m.notice = "resumed; what failed is tried again"
	case Step:
		m.notice = "moving one window, then pausing"
	case Window:
		m.notice = fmt.Sprintf("window set to %d", wish.Window)
	case Abort:
		m.notice = "aborting: what has moved walks back"
	case Detach, PauseAndLeave:
		m.leaving = true
	}
	return m
}

// pausing says whether p goes on with the run.
func (m Model) pausing() bool { return m.phase == v1alpha1.RebalancePaused }
