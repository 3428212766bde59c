package top

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The size of a terminal that does not say how large it is.
const (
	defaultWidth  = 80
	defaultHeight = 24
	// frame is the lines beside table and notes: title, help, and an empty one.
	frame = 3
	// fewest rows of the table are shown before notes are left out.
	fewest = 3
)

func (m Model) size() (width, height int) {
	width, height = m.Width, m.Height
	if width <= 0 {
		width = defaultWidth
	}
	if height <= 0 {
		height = defaultHeight
	}
	return width, height
}

// notes are as many as there is room for.
func (m Model) notes() []string {
	_, height := m.size()
	room := height - frame - 1 - min(fewest, max(0, len(m.Frame.Table)-1))
	return m.Frame.Notes[:max(0, min(len(m.Frame.Notes), room))]
}

// room is for so many rows of the table below its header.
func (m Model) room() int {
	_, height := m.size()
	return max(1, height-frame-1-len(m.notes()))
}

// Render draws the model in plain characters. No line is wider than the terminal, and there are no more of them than
// it has.
func Render(m Model) string {
	width, height := m.size()
	right := m.Frame.At.Format("15:04:05")
	if m.Frame.Err != "" {
		right = "OLD, of " + right
	}
	gap := width - ansi.StringWidth(m.Frame.Title) - ansi.StringWidth(right)
	lines := []string{m.Frame.Title + strings.Repeat(" ", max(gap, 2)) + right}
	if len(m.Frame.Table) > 0 {
		rows := m.Frame.Table[1:]
		end := min(len(rows), m.Scrolled+m.room())
		lines = append(lines, m.Frame.Table[0])
		lines = append(lines, rows[m.Scrolled:end]...)
	}
	if m.Frame.Err != "" {
		lines = append(lines, "! "+m.Frame.Err)
	}
	lines = append(lines, m.notes()...)
	lines = append(lines, "", m.help())
	if len(lines) > height {
		lines = append(lines[:height-1], lines[len(lines)-1])
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, "…"), " ")
	}
	return strings.Join(lines, "\n")
}

func (m Model) help() string {
	text := fmt.Sprintf("every %s · q quit", m.Every)
	if hidden := len(m.Frame.Table) - 1 - m.room(); hidden > 0 {
		text += fmt.Sprintf(" · ↑↓ %d rows more", hidden)
	}
	return text
}
