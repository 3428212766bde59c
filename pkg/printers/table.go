// Package printers writes what commands found: tables that look like kubectl's, and the JSON that
// scripts rely on. It knows nothing of where the data came from.
package printers

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// screen is the width of a terminal that nobody has made wider, in columns.
const screen = 80

// Table is rows under a header. Cells are printed as they are: left aligned, never wrapped, columns three spaces apart as
// in kubectl's, or two where that many would not fit a screen. See narrow for terminals that it does not fit at all.
type Table struct {
	Header []string
	Rows   [][]string
	// NoHeader leaves the header out, for scripts. Such a table stays one on each terminal.
	NoHeader bool
	// Columns of the terminal that it is for; 0 where it may be as wide as it gets. See [Columns].
	Columns int
}

// Write prints the table to w. A table without rows prints its header alone.
func (t Table) Write(w io.Writer) error {
	text, err := t.layOut()
	if err == nil && !t.NoHeader && !t.fits(text) {
		text, err = t.narrow()
	}
	if err != nil {
		return err
	}
	return write(w, text)
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// layOut is the table with the widest gaps that fit.
func (t Table) layOut() (string, error) {
	text, err := t.render("   ")
	if err != nil {
		return "", err
	}
	most := screen
	if t.Columns > 0 {
		most = min(screen, t.Columns)
	}
	if header, _, _ := strings.Cut(text, "\n"); ansi.StringWidth(header) <= most {
		return text, nil
	}
	// Spaces at the end count as well: a terminal wraps them into an empty line.
	if text, err = t.render("  "); err != nil {
		return "", err
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = trimmed(line)
	}
	return strings.Join(lines, "\n"), nil
}

// trimmed is a line without spaces at its end. Behind those that fill a cell up that has colours, tablewriter ends them.
func trimmed(line string) string {
	if text, ok := strings.CutSuffix(line, uncolored); ok {
		return strings.TrimSuffix(strings.TrimRight(text, " "), uncolored) + uncolored
	}
	return strings.TrimRight(line, " ")
}

// render is the table with a gap behind each column; all lines are equally wide.
func (t Table) render(gap string) (string, error) {
	var text strings.Builder
	out := tablewriter.NewTable(&text,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Settings: tw.Settings{
				Separators: tw.SeparatorsNone,
				Lines:      tw.LinesNone,
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{
			Header: cellConfig(gap),
			Row:    cellConfig(gap),
		}),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithEastAsian(tw.Off), // → and … are one column wide on terminals, also where people read Chinese
	)
	if !t.NoHeader {
		out.Header(t.Header)
	}
	if err := out.Bulk(t.Rows); err != nil {
		return "", fmt.Errorf("lay out table: %w", err)
	}
	if err := out.Render(); err != nil {
		return "", fmt.Errorf("lay out table: %w", err)
	}
	return text.String(), nil
}

func cellConfig(gap string) tw.CellConfig {
	return tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: "", Right: gap, Overwrite: true}},
	}
}
