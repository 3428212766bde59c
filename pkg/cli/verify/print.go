package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// shown is how many findings the text names.
const shown = 100

func (o *options) print(r *verify.Result) error {
	for _, w := range r.Warnings {
		o.env.Warn("%s", w)
	}
	for i := range r.Findings {
		r.Findings[i].Fix = o.env.Typed(r.Findings[i].Fix)
	}
	for i := range r.Cells {
		r.Cells[i].Message = o.env.Typed(r.Cells[i].Message)
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Verification", r.Epoch, r, r.Warnings...),
		Names: func() []string {
			names := make([]string, len(r.Findings))
			for i := range r.Findings {
				names[i] = r.Findings[i].Object
			}
			return names
		},
		Text: func(w io.Writer, layout printers.Layout) error { return o.text(w, layout, r) },
	})
}

func (o *options) text(w io.Writer, layout printers.Layout, r *verify.Result) error {
	if len(r.Findings) > 0 {
		table := layout.Table("CLASS", "CELL", "OBJECT", "REPAIR", "WHAT")
		for i := range r.Findings[:min(len(r.Findings), shown)] {
			f := &r.Findings[i]
			what := f.Message
			if !layout.Wide {
				what = printers.Clip(what)
			}
			table.Rows = append(table.Rows, []string{string(f.Class), f.Cell, f.Object, repairOf(f), what})
		}
		if err := table.Write(w); err != nil {
			return err
		}
		if more := int64(len(r.Findings)-shown) + r.More; more > 0 {
			fmt.Fprintf(w, "and %s more; -o json has the first %s\n", printers.Count(more), printers.Count(int64(len(r.Findings))))
		}
		o.explain(w, r)
	}
	return o.summary(w, r)
}

func repairOf(f *verify.Finding) string {
	switch {
	case f.Repaired:
		return "done"
	case f.Problem != "":
		return "failed"
	case f.Safe:
		return "safe"
	}
	return "by hand"
}

// explain says of each class that was found what it is, and of each finding that is for a person what to do.
func (o *options) explain(w io.Writer, r *verify.Result) {
	for _, class := range verify.Classes() {
		if r.Counts[class] == 0 {
			continue
		}
		e := class.Explain()
		fmt.Fprintf(w, "\n%s: %s.\n  For example: %s.\n  --repair: %s.\n  By hand: %s.\n", class, e.Meaning, e.Example, e.Repair, e.Otherwise)
		for i := range r.Findings[:min(len(r.Findings), shown)] {
			f := &r.Findings[i]
			switch {
			case f.Class != class:
			case f.Problem != "":
				fmt.Fprintf(w, "    %s in %s was not mended: %s\n", f.Object, f.Cell, f.Problem)
			case !f.Safe:
				fmt.Fprintf(w, "    %s in %s:\n      %s\n", f.Object, f.Cell, f.Fix)
			}
		}
	}
	fmt.Fprintln(w)
}

func (o *options) summary(w io.Writer, r *verify.Result) error {
	var checked, others []string
	for _, c := range r.Cells {
		switch {
		case c.State == verify.Checked:
			checked = append(checked, c.Cell)
		case c.Message != "":
			others = append(others, fmt.Sprintf("cell %s is not checked, %s: %s\n", c.Cell, c.State, c.Message))
		}
	}
	found, safe, repaired := r.More, 0, 0
	for i := range r.Findings {
		found++
		switch f := &r.Findings[i]; {
		case f.Repaired:
			repaired++
		case f.Safe && f.Problem == "":
			safe++
		}
	}
	fmt.Fprintf(w, "%s objects and %s envelopes in %s, epoch %d %s: ", printers.Count(r.Objects), printers.Count(r.Envelopes), strings.Join(checked, ", "), r.Epoch, r.Phase)
	switch {
	case found == 0 && r.Uncompared:
		fmt.Fprintln(w, "nothing found, and not all envelopes were compared")
	case found == 0:
		fmt.Fprintln(w, "nothing found")
	case repaired > 0:
		fmt.Fprintf(w, "%s findings, %d repaired\n", printers.Count(found), repaired)
	case safe > 0:
		fmt.Fprintf(w, "%s findings, of which %s verify --repair%s mends %d\n", printers.Count(found), o.env.Program, o.env.Within(), safe)
	default:
		fmt.Fprintf(w, "%s findings\n", printers.Count(found))
	}
	if r.Pending > 0 {
		fmt.Fprintf(w, "%s objects wait for their envelopes, which a daemon is writing\n", printers.Count(r.Pending))
	}
	_, err := io.WriteString(w, strings.Join(others, ""))
	return err
}

// line is one line of progress on a terminal, which is written over.
type line struct {
	out  io.Writer
	live bool
	// drawn is set while something is on it.
	drawn bool
}

func (l *line) show(p verify.Progress) {
	if l.live {
		l.drawn = true
		fmt.Fprintf(l.out, "\r\x1b[K%s objects, %s envelopes; %s", printers.Count(p.Objects), printers.Count(p.Envelopes), p.Doing)
	}
}

func (l *line) clear() {
	if l.drawn {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}
