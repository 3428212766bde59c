package printers

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Output is the user's choice of format: the flags -o and --no-headers.
type Output struct {
	// Format is empty for the table that people read.
	Format    string
	NoHeaders bool
}

// AddFlags binds -o and --no-headers.
func (o *Output) AddFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.Format, "output", "o", o.Format,
		"Output format: "+strings.Join(Formats(), "|"))
	flags.BoolVar(&o.NoHeaders, "no-headers", o.NoHeaders, "Print tables without their header line")
}

// Formats are the values of -o, in the order of the help text.
func Formats() []string {
	return []string{"wide", "json", "yaml", "name", "jsonpath=…", "go-template=…", "custom-columns=…"}
}

// Layout is how a table for people shall look.
type Layout struct {
	// Wide asks for the columns that matter less.
	Wide bool
	// NoHeaders leaves header lines out.
	NoHeaders bool
	// Columns of the terminal; 0 where there is none. See [Table].
	Columns int
}

// Table is one with this layout, and without rows.
func (l Layout) Table(header ...string) Table {
	return Table{Header: header, NoHeader: l.NoHeaders, Columns: l.Columns}
}

// View is a command's result in every form that the user may ask for.
type View struct {
	// Document is for programs.
	Document *Document
	// Text writes what people read.
	Text func(w io.Writer, layout Layout) error
	// Names are printed one a line by -o name, and should be accepted as arguments again.
	Names func() []string
}

// Printer writes a View in one format.
type Printer struct {
	output  Output
	columns columns
	// object is nil for the formats that are not made from a Document alone.
	object printers.ResourcePrinter
}

// Printer checks the format. The error is a usage error that lists the formats; get it before any
// work is done.
func (o Output) Printer() (*Printer, error) {
	p := &Printer{output: o}
	format, argument, _ := strings.Cut(o.Format, "=")
	var err error
	switch format {
	case "", "wide", "name":
		err = noArgument(o.Format)
	case "json":
		p.object, err = &printers.JSONPrinter{}, noArgument(o.Format)
	case "yaml":
		p.object, err = &printers.YAMLPrinter{}, noArgument(o.Format)
	case "custom-columns":
		p.columns, err = parseColumns(argument)
	default:
		p.object, err = template(o.Format)
	}
	if err != nil {
		return nil, exit.Usagef("output format %q: %w", Clip(o.Format), err).
			WithHint("-o %s", strings.Join(Formats(), " | -o "))
	}
	return p, nil
}

// Text says whether people read what will be printed.
func (p *Printer) Text() bool { return p.output.Format == "" || p.output.Format == "wide" }

// layout is that of text which is written to w.
func (p *Printer) layout(w io.Writer) Layout {
	return Layout{Wide: p.output.Format == "wide", NoHeaders: p.output.NoHeaders, Columns: Columns(w)}
}

// Print writes the view to w.
func (p *Printer) Print(w io.Writer, view View) error {
	switch {
	case p.Text():
		return view.Text(w, p.layout(w))
	case p.output.Format == "name":
		for _, name := range view.Names() {
			if _, err := fmt.Fprintln(w, name); err != nil {
				return fmt.Errorf("print names: %w", err)
			}
		}
		return nil
	case p.columns != nil:
		return p.columns.write(w, view.Document, p.output.NoHeaders)
	}
	if err := p.object.PrintObj(view.Document, Verbatim(w)); err != nil {
		return fmt.Errorf("print %s: %w", view.Document.Kind, err)
	}
	return nil
}

// wholeNumbers gives a template the document's numbers as they are.
type wholeNumbers struct{ printers.ResourcePrinter }

// PrintObj prints a *Document.
func (p wholeNumbers) PrintObj(obj runtime.Object, w io.Writer) error {
	content, err := obj.(*Document).unstructured()
	if err != nil {
		return err
	}
	return p.ResourcePrinter.PrintObj(content, w)
}

func noArgument(format string) error {
	if strings.Contains(format, "=") {
		return fmt.Errorf("takes no argument")
	}
	return nil
}

// template makes the printers that kubectl has for templates: jsonpath, go-template, and both from
// a file.
func template(format string) (printers.ResourcePrinter, error) {
	flags := genericclioptions.NewKubeTemplatePrintFlags()
	printer, err := flags.ToPrinter(format)
	switch {
	case genericclioptions.IsNoCompatiblePrinterError(err):
		return nil, fmt.Errorf("unknown; allowed are %s", strings.Join(Formats(), ", "))
	case err != nil:
		return nil, err
	}
	return wholeNumbers{printer}, nil
}

// Clip shortens s to 80 characters, to keep an error on one line when a whole template or file was
// passed in place of a word.
func Clip(s string) string { return ClipTo(s, 80) }

// ClipTo shortens s to so many characters.
func ClipTo(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
