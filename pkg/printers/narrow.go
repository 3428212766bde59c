package printers

import (
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

const (
	// readable is how narrow the last column of a table may become before its text is hard to read, in columns.
	readable = 24
	// gap is what stands between the columns of a table that is folded, in columns.
	gap = 2
)

// Columns is how wide the terminal is that w writes to; 0 where it is none.
func Columns(w io.Writer) int {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// fits says whether a terminal shows each line on one.
func (t Table) fits(text string) bool {
	if t.Columns == 0 {
		return true
	}
	for line := range strings.Lines(text) {
		if ansi.StringWidth(strings.TrimSuffix(line, "\n")) > t.Columns {
			return false
		}
	}
	return true
}

// narrow is a table that does not fit its terminal: with the last column folded, which is where messages are, or else as
// records.
func (t Table) narrow() (string, error) {
	if room := t.Columns - t.before(); room >= readable {
		text, err := t.folded(room).layOut()
		if err != nil || t.fits(text) {
			return text, err
		}
	}
	return t.records(), nil
}

// before is how many columns stand before the last one.
func (t Table) before() int {
	sum := 0
	for i := range len(t.Header) - 1 {
		widest := ansi.StringWidth(t.Header[i])
		for _, row := range t.Rows {
			widest = max(widest, ansi.StringWidth(row[i]))
		}
		sum += widest + gap
	}
	return sum
}

// folded has what does not fit the last column in rows of its own, whose other cells are empty.
func (t Table) folded(room int) Table {
	out := t
	out.Rows = nil
	last := len(t.Header) - 1
	for _, row := range t.Rows {
		for i, line := range fold(row[last], room) {
			cells := make([]string, len(row))
			if i == 0 {
				copy(cells, row)
			}
			cells[last] = line
			out.Rows = append(out.Rows, cells)
		}
	}
	return out
}

// WriteRecords prints the table as records, however wide its terminal is.
func (t Table) WriteRecords(w io.Writer) error { return write(w, t.records()) }

// records has a line for each cell, behind its header, and an empty one between rows. A table without rows has its headers
// one a line.
func (t Table) records() string {
	label := 0
	for _, header := range t.Header {
		label = max(label, ansi.StringWidth(header)+len(": "))
	}
	var b strings.Builder
	for _, header := range t.Header {
		if len(t.Rows) == 0 {
			b.WriteString(header + "\n")
		}
	}
	for n, row := range t.Rows {
		if n > 0 {
			b.WriteString("\n")
		}
		for i, cell := range row {
			begin := t.Header[i] + ":"
			for _, line := range fold(cell, max(readable, t.Columns-label)) {
				text := begin + strings.Repeat(" ", label-ansi.StringWidth(begin)) + line
				b.WriteString(strings.TrimRight(text, " ") + "\n")
				begin = ""
			}
		}
	}
	return b.String()
}

// fold breaks a text, which may be in a colour, at spaces into lines that are at most so wide. A word that is wider stays
// whole: the terminal wraps it, and it can still be copied.
func fold(text string, width int) []string {
	color, end := "", ""
	if inside, ok := strings.CutSuffix(text, uncolored); ok && strings.HasPrefix(inside, "\x1b[") {
		at := strings.IndexByte(inside, 'm') + 1
		color, text, end = inside[:at], inside[at:], uncolored
	}
	lines := foldPlain(text, width)
	for i, line := range lines {
		lines[i] = color + line + end
	}
	return lines
}

// Fold breaks a text at spaces into lines of at most so many columns. An indent, which comes on top, is before all but the first.
func Fold(text string, columns int, indent string) string {
	return strings.Join(foldPlain(text, columns), "\n"+indent)
}

func foldPlain(text string, width int) []string {
	words := strings.Split(text, " ")
	lines := words[:1:1]
	for _, word := range words[1:] {
		last := &lines[len(lines)-1]
		if ansi.StringWidth(*last)+1+ansi.StringWidth(word) > width {
			lines = append(lines, word)
			continue
		}
		*last += " " + word
	}
	return lines
}
