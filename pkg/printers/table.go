// Package printers writes what commands found: tables that look like kubectl's, and the JSON that
// scripts rely on. It knows nothing of where the data came from.
package printers

import (
	"bytes"
	"fmt"
	"io"

	"github.com/charmbracelet/x/ansi"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// screen is the width of a terminal that nobody has made wider, in columns.
const screen = 80

// Table is rows under a header. Cells are printed as they are: left aligned, never wrapped, columns three spaces apart as
// in kubectl's, or two where that many would not fit a screen.
type Table struct {
	Header []string
	Rows   [][]string
	// NoHeader leaves the header out, for scripts.
	NoHeader bool
}

// Write prints the table to w. A table without rows prints its header alone.
func (t Table) Write(w io.Writer) error {
	var text bytes.Buffer
	if err := t.render(&text, "   "); err != nil {
		return err
	}
	lines := bytes.SplitAfter(text.Bytes(), []byte("\n"))
	if len(lines) > 0 && ansi.StringWidth(string(bytes.TrimSuffix(lines[0], []byte("\n")))) > screen {
		// Spaces at the end count as well: a terminal wraps them into an empty line.
		text.Reset()
		if err := t.render(&text, "  "); err != nil {
			return err
		}
		lines = bytes.SplitAfter(text.Bytes(), []byte("\n"))
		for i, line := range lines {
			if end, ok := bytes.CutSuffix(line, []byte("\n")); ok {
				lines[i] = append(bytes.TrimRight(end, " "), '\n')
			}
		}
	}
	if _, err := w.Write(bytes.Join(lines, nil)); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// render lays the table out with a gap behind each column; all lines come out equally wide.
func (t Table) render(w io.Writer, gap string) error {
	out := tablewriter.NewTable(w,
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
		return fmt.Errorf("lay out table: %w", err)
	}
	if err := out.Render(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

func cellConfig(gap string) tw.CellConfig {
	return tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: "", Right: gap, Overwrite: true}},
	}
}
