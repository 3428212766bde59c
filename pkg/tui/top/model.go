// Package top draws a table that is refreshed on the whole screen: the cells of a federation, and what goes on.
//
// [Model] is immutable and [Render] a function of it alone. What is shown comes as a [Frame], which somebody
// else makes; nothing here asks a server.
package top

import "time"

// Frame is what is shown at one moment.
type Frame struct {
	At time.Time
	// Title is the left end of the first line.
	Title string
	// Header and Rows are the table, with as many columns in each row as in the header.
	Header []string
	Rows   [][]string
	// Spare are the headers of columns that a narrow terminal does without, the first of them first.
	Spare []string
	// Notes stand below the table.
	Notes []string
	// Err says why this frame is an old one; empty while it is not.
	Err string
}

// Model is what is on the screen.
type Model struct {
	Frame Frame
	// Width and Height of the terminal.
	Width, Height int
	// Every is how often a new frame comes.
	Every time.Duration
	// Scrolled is how many rows of the table are above the screen.
	Scrolled int
}

// Show returns the model with a new frame. One without rows keeps the old table, and says why.
func (m Model) Show(f Frame) Model {
	if f.Err != "" && len(f.Rows) == 0 {
		old := m.Frame
		old.Err = f.Err
		f = old
	}
	m.Frame = f
	return m.scroll(0)
}

// Press returns the model after a key, named as bubbletea does, and whether the screen is to be left.
func (m Model) Press(key string) (next Model, leave bool) {
	switch key {
	case "q", "esc", "ctrl+c":
		return m, true
	case "down", "j":
		return m.scroll(1), false
	case "up", "k":
		return m.scroll(-1), false
	case "pgdown", "space":
		return m.scroll(m.room()), false
	case "pgup":
		return m.scroll(-m.room()), false
	case "home", "g":
		return m.scroll(-m.Scrolled), false
	}
	return m, false
}

func (m Model) scroll(rows int) Model {
	last := max(0, len(m.Frame.Rows)-m.room())
	m.Scrolled = min(max(0, m.Scrolled+rows), last)
	return m
}
