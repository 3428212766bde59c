package top

import (
	"fmt"
	"slices"
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
	// The spaces between columns.
	widest, narrowest = 3, 1
	// shortest is how narrow the widest column may become, for what stands behind it.
	shortest = 8
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
	room := height - frame - 1 - min(fewest, len(m.Frame.Rows))
	return m.Frame.Notes[:max(0, min(len(m.Frame.Notes), room))]
}

// room is for so many rows of the table below its header.
func (m Model) room() int {
	_, height := m.size()
	return max(1, height-frame-1-len(m.notes()))
}

// table is the lines of the table, the header first. Where they are too wide, the space between columns becomes narrower,
// then columns are left out, and at last the widest one is cut, which has the names.
func (m Model) table(width int) []string {
	if len(m.Frame.Header) == 0 {
		return nil
	}
	widths := make([]int, len(m.Frame.Header))
	for _, row := range append([][]string{m.Frame.Header}, m.Frame.Rows...) {
		for i, text := range row {
			widths[i] = max(widths[i], ansi.StringWidth(text))
		}
	}
	gap := widest
	sum := func() (sum int) {
		for _, w := range widths {
			if w > 0 {
				sum += w + gap
			}
		}
		return sum - gap
	}
	for gap > narrowest && sum() > width {
		gap--
	}
	for _, name := range m.Frame.Spare {
		if i := slices.Index(m.Frame.Header, name); i >= 0 && sum() > width {
			widths[i] = 0
		}
	}
	if over := sum() - width; over > 0 {
		longest := slices.Index(widths, slices.Max(widths))
		widths[longest] = min(widths[longest], max(shortest, widths[longest]-over))
	}
	lines := []string{layOut(m.Frame.Header, widths, gap)}
	for _, row := range m.Frame.Rows {
		lines = append(lines, layOut(row, widths, gap))
	}
	return lines
}

// layOut is a line of columns; those of width 0 are left out.
func layOut(row []string, widths []int, gap int) string {
	var b strings.Builder
	for i, text := range row {
		if widths[i] > 0 {
			text = ansi.Truncate(text, widths[i], "…")
			b.WriteString(text + strings.Repeat(" ", widths[i]-ansi.StringWidth(text)+gap))
		}
	}
	return strings.TrimRight(b.String(), " ")
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
	if table := m.table(width); len(table) > 0 {
		end := min(len(table), 1+m.Scrolled+m.room())
		lines = append(lines, table[0])
		lines = append(lines, table[1+m.Scrolled:end]...)
	}
	if m.Frame.Err != "" {
		lines = append(lines, "! "+m.Frame.Err)
	}
	lines = append(lines, m.notes()...)
	lines = append(lines, "")
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:height-1], m.help())
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, "…"), " ")
	}
	return strings.Join(lines, "\n")
}

func (m Model) help() string {
	text := fmt.Sprintf("every %s · q quit", m.Every)
	if hidden := len(m.Frame.Rows) - m.room(); hidden > 0 {
		text += fmt.Sprintf(" · ↑↓ %d rows more", hidden)
	}
	return text
}
