package steps

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// The size of a terminal that does not say how large it is.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

// Render draws the model in plain characters: title, a line for each step, notes. No line is wider
// than the terminal.
func Render(m Model) string {
	width := m.Width
	if width <= 0 {
		width = defaultWidth
	}
	nameWidth := 0
	for _, r := range m.rows {
		nameWidth = max(nameWidth, ansi.StringWidth(r.name))
	}
	lines := []string{title(m, width)}
	for _, r := range m.rows {
		lines = append(lines, fmt.Sprintf(" %s %s%s  %6s  %s", symbol(r.state), r.name,
			strings.Repeat(" ", nameWidth-ansi.StringWidth(r.name)), elapsed(m, r), words(r)))
	}
	for _, note := range m.notes {
		lines = append(lines, "   "+note)
	}
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, "…"), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// title has the count of finished steps and the time of the whole at its right end.
func title(m Model, width int) string {
	finished := 0
	for _, r := range m.rows {
		if r.state != Running {
			finished++
		}
	}
	right := fmt.Sprintf("%d/%d  %s", finished, len(m.rows), seconds(m.Now.Sub(m.begin)))
	gap := min(width, defaultWidth) - ansi.StringWidth(m.Title) - ansi.StringWidth(right)
	return m.Title + strings.Repeat(" ", max(gap, 2)) + right
}

func symbol(s State) string {
	switch s {
	case Done, Already:
		return "✔"
	case Failed:
		return "✗"
	default:
		return "…"
	}
}

func words(r row) string {
	switch r.state {
	case Already:
		return strings.TrimSpace(r.detail + " (ran already)")
	case Failed:
		return strings.TrimSpace(r.detail + " failed")
	default:
		return r.detail
	}
}

func elapsed(m Model, r row) string {
	if r.state == Already {
		return "-"
	}
	if r.took > 0 {
		return seconds(r.took)
	}
	end := r.end
	if end.IsZero() {
		end = m.Now
	}
	return seconds(end.Sub(r.begin))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", max(d, 0).Seconds()) }
