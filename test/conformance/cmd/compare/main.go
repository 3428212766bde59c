// Command compare reads the results of two runs and prints the table of both, direct and through the
// router. It ends with 1 when a spec fails only through the router without being excused, or fails
// directly, and with 2 when its files cannot be read.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/kubecell/kubectl-cell/test/conformance/compare"
	"github.com/kubecell/kubectl-cell/test/conformance/result"
	"github.com/kubecell/kubectl-cell/test/conformance/selection"
)

// The part of a document between these lines is ours.
const (
	begin = "<!-- begin: written by make conformance -->\n"
	end   = "<!-- end: written by make conformance -->\n"
)

// options are the flags.
type options struct {
	specs, exceptions string
	direct, router    string
	document          string
	focus             string
	short             bool
}

func main() {
	var o options
	flag.StringVar(&o.specs, "specs", "specs.txt", "file with the specs")
	flag.StringVar(&o.exceptions, "exceptions", "exceptions.txt", "file with the exceptions")
	flag.StringVar(&o.direct, "direct", "", "file with the results of the run against a cell")
	flag.StringVar(&o.router, "router", "", "file with the results of the run through the router")
	flag.StringVar(&o.document, "document", "", "document to write the table into; none: only print it")
	flag.StringVar(&o.focus, "focus", "", "compare only specs whose names match this regular expression")
	flag.BoolVar(&o.short, "short", false, "compare only the short selection")
	flag.Parse()
	ok, err := run(o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(o options, out io.Writer) (bool, error) {
	all, err := read(o.specs, selection.Specs)
	if err != nil {
		return false, err
	}
	exceptions, err := read(o.exceptions, func(r io.Reader) (map[string]string, error) {
		return selection.Exceptions(r, all)
	})
	if err != nil {
		return false, err
	}
	focus, err := regexp.Compile(o.focus)
	if err != nil {
		return false, fmt.Errorf("read -focus: %w", err)
	}
	var runs compare.Runs
	if runs.Direct, err = result.Read(o.direct); err != nil {
		return false, err
	}
	if runs.Router, err = result.Read(o.router); err != nil {
		return false, err
	}
	table := compare.Compare(selection.Selected(all, o.short, focus), runs, exceptions)
	if err := table.Text(out); err != nil {
		return false, err
	}
	if o.document != "" {
		err = write(o.document, table)
	}
	return table.OK(), err
}

func read[T any](path string, parse func(io.Reader) (T, error)) (parsed T, err error) {
	file, err := os.Open(path)
	if err != nil {
		return parsed, err
	}
	defer file.Close()
	if parsed, err = parse(file); err != nil {
		err = fmt.Errorf("read %s: %w", path, err)
	}
	return parsed, err
}

// write puts the table between the two marks of the document.
func write(path string, table compare.Table) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(content), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return errors.New("write table: " + path + " lacks the marks between which it belongs")
	}
	var b strings.Builder
	if err := table.Markdown(&b); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+b.String()+"\n"+end+after), 0o644)
}
