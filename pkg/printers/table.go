// Package printers writes what commands found: tables that look like kubectl's, and the JSON that
// scripts rely on. It knows nothing of where the data came from.
package printers

import (
	"fmt"
	"io"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Table is rows under a header. Cells are printed as they are: left aligned, never wrapped, columns
// two spaces or more apart.
type Table struct {
	Header []string
	Rows   [][]string
	// NoHeader leaves the header out, for scripts.
	NoHeader bool
}

// Write prints the table to w. A table without rows prints its header alone.
func (t Table) Write(w io.Writer) error {
	out := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Settings: tw.Settings{
				Separators: tw.SeparatorsNone,
				Lines:      tw.LinesNone,
			},
		})),
		tablewriter.WithConfig(tablewriter.Config{
			Header: cellConfig(),
			Row:    cellConfig(),
		}),
		tablewriter.WithTrimSpace(tw.Off),
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

func cellConfig() tw.CellConfig {
	return tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: "", Right: "   ", Overwrite: true}},
	}
}
