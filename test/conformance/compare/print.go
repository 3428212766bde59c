package compare

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the table for a terminal: two columns and the name, below it why a spec does not pass.
func (t Table) Text(w io.Writer) error {
	var b strings.Builder
	group := ""
	for _, row := range t {
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(&b, "\n%-8s %-8s %s\n", "DIRECT", "ROUTER", strings.ToUpper(group))
		}
		fmt.Fprintf(&b, "%-8s %-8s %s\n", row.Direct, row.Router, row.Name)
		if row.Verdict != Same {
			fmt.Fprintf(&b, "%18s%s: %s\n", "", row.Verdict, row.Reason)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", t.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the count of all verdicts in one line.
func (t Table) Summary() string {
	return fmt.Sprintf("%d specs: %d pass directly and through the router, %d are excused, %d fail only through the router, %d fail directly",
		len(t), t.Count(Same), t.Count(Excused), t.Count(Broken), t.Count(Unfit))
}

// Markdown writes the table for a document: one table a group. Messages of failures are left out, since
// they hold names and times of one run.
func (t Table) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", t.Summary())
	group := ""
	for _, row := range t {
		if row.Group != group {
			group = row.Group
			fmt.Fprintf(&b, "\n### %s\n\n| spec | direct | router |\n|---|---|---|\n", group)
		}
		router := row.Router
		if row.Verdict == Excused {
			router += ": " + row.Reason
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(row.Name), cell(row.Direct), cell(router))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps text from being read as markup or as the end of the cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "[", `\[`, "*", `\*`, "_", `\_`).Replace(text)
}
