package get

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// watchInterval is how often -w looks again; each look asks all cells, as the command without -w does.
const watchInterval = 2 * time.Second

// between stands between columns.
const between = "  "

// row is one line of a list that is followed.
type row struct {
	name string
	// cell is the one that says so: while it does not answer, nothing is known of the row.
	cell string
	// state is what of the row counts as a change. Times, for instance, do not.
	state any
	text  []string // of the table
	data  any      // of -o json
}

// look is what is there at one moment. silent are the cells that did not answer.
type look struct {
	header   []string
	rows     []row
	silent   []string
	warnings []string
}

// line is a change as -w -o json prints it.
type line struct {
	Seq int64     `json:"seq"`
	TS  time.Time `json:"ts"`
	// Type is added, modified or deleted.
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// follower prints what is there, then what changes.
type follower struct {
	env     *command.Env
	output  printers.Output
	printer *printers.Printer
	// stateColumn of a row that is gone says so.
	stateColumn int

	seq    int64
	widths []int
	// header and columns are of a terminal that the table does not fit at first: changes are records then.
	header  []string
	columns int
	last    map[string]row
	warned  []string
}

// watchable is a usage error for formats that have no stream.
func watchable(env *command.Env, command string, printer *printers.Printer, output printers.Output) error {
	if printer.Text() || output.Format == "json" || output.Format == "name" {
		return nil
	}
	return exit.Usagef("-w prints lines, or with -o json a JSON object for each change").WithHint("%s %s -w -o json%s", env.Program, command, env.Within())
}

// follow looks until ctx ends. Only a first look that fails ends it before.
func (f *follower) follow(ctx context.Context, see func(context.Context) (look, error)) error {
	seen, err := see(ctx)
	if err != nil {
		return err
	}
	for {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.warn([]string{err.Error() + "; trying again"})
		default:
			f.warn(seen.warnings)
			if err := f.show(seen); err != nil {
				return exit.Errorf(exit.Failure, "print change: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(watchInterval):
		}
		seen, err = see(ctx)
	}
}

// warn says what it has not said at the last look.
func (f *follower) warn(warnings []string) {
	for _, warning := range warnings {
		if !slices.Contains(f.warned, warning) {
			f.env.Warn("%s", warning)
		}
	}
	f.warned = warnings
}

// show prints the differences from the last look.
func (f *follower) show(seen look) error {
	first := f.last == nil
	if first && f.printer.Text() && !f.output.NoHeaders {
		rows := [][]string{seen.header}
		for _, r := range seen.rows {
			rows = append(rows, r.text)
		}
		f.widen(rows)
		if err := f.begin(seen.header); err != nil {
			return err
		}
	}
	now := make(map[string]row, len(seen.rows))
	for _, r := range seen.rows {
		now[r.name] = r
		before, known := f.last[r.name]
		switch {
		case !known:
			if err := f.print("added", r); err != nil {
				return err
			}
		case before.state != r.state:
			if err := f.print("modified", r); err != nil {
				return err
			}
		}
	}
	for _, name := range sortedNames(f.last) {
		before := f.last[name]
		if _, there := now[name]; there {
			continue
		}
		if slices.Contains(seen.silent, before.cell) {
			now[name] = before
			continue
		}
		before.text = slices.Clone(before.text)
		before.text[f.stateColumn] = "deleted"
		if err := f.print("deleted", before); err != nil {
			return err
		}
	}
	f.last = now
	return nil
}

// begin writes the header, unless the terminal is too narrow for a table.
func (f *follower) begin(header []string) error {
	wide := -len(between)
	for _, width := range f.widths {
		wide += width + len(between)
	}
	if columns := printers.Columns(f.env.Out); columns > 0 && wide > columns {
		f.header, f.columns = header, columns
		return nil
	}
	return f.write(header)
}

func sortedNames(rows map[string]row) []string {
	out := make([]string, 0, len(rows))
	for name := range rows {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (f *follower) print(what string, r row) error {
	f.seq++
	switch f.output.Format {
	case "json":
		return json.NewEncoder(printers.Verbatim(f.env.Out)).Encode(line{Seq: f.seq, TS: f.env.Clock.Now(), Type: what, Object: r.data})
	case "name":
		_, err := fmt.Fprintln(f.env.Out, r.name)
		return err
	}
	if f.header != nil {
		return f.record(r)
	}
	f.widen([][]string{r.text})
	return f.write(r.text)
}

// record writes a row with an empty line behind it.
func (f *follower) record(r row) error {
	if err := (printers.Table{Header: f.header, Rows: [][]string{r.text}, Columns: f.columns}).WriteRecords(f.env.Out); err != nil {
		return err
	}
	_, err := fmt.Fprintln(f.env.Out)
	return err
}

// widen makes room for rows; columns never get narrower, so that most lines stand below one another.
func (f *follower) widen(rows [][]string) {
	for _, r := range rows {
		for i, text := range r {
			if i == len(f.widths) {
				f.widths = append(f.widths, 0)
			}
			f.widths[i] = max(f.widths[i], ansi.StringWidth(text))
		}
	}
}

func (f *follower) write(texts []string) error {
	out := ""
	for i, text := range texts {
		if i == len(texts)-1 {
			out += text
			break
		}
		out += text + strings.Repeat(" ", f.widths[i]-ansi.StringWidth(text)) + between
	}
	_, err := fmt.Fprintln(f.env.Out, out)
	return err
}
