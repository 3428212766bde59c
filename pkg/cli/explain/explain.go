// Package explain is the command `explain`: the vocabulary of kubectl cell, word by word. It needs
// no server.
package explain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/suggest"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Concept is one entry of `explain -o json`.
type Concept struct {
	Name    string   `json:"name"`
	Summary string   `json:"summary"`
	Text    string   `json:"text"`
	See     []string `json:"see"`
}

type options struct {
	env     *command.Env
	output  printers.Output
	printer *printers.Printer
	chosen  []concept
	all     bool
}

// NewCommand returns `explain`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "explain [CONCEPT]",
		Short: "Explain a word of this tool",
		Long:  "Explain a word of this tool: ring, cell, key, case, window, fence … Without a word, list them.",
		Example: "  # All words\n  " + env.Program + " explain\n\n" +
			"  # One of them\n  " + env.Program + " explain ring",
		Args: command.OptionalArg,
		RunE: command.RunE(o),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var out []cobra.Completion
			if len(args) == 0 {
				for _, c := range concepts() {
					out = append(out, cobra.CompletionWithDesc(c.name, c.summary))
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete finds the concept.
func (o *options) Complete(args []string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	o.chosen, o.all = concepts(), len(args) == 0
	if o.all {
		return nil
	}
	word := strings.ToLower(args[0])
	var words []string
	for _, c := range o.chosen {
		if c.name == word || slices.Contains(c.aliases, word) {
			o.chosen = []concept{c}
			return nil
		}
		words = append(append(words, c.name), c.aliases...)
	}
	unknown := exit.Usagef("no concept %q", printers.Clip(args[0]))
	if near := suggest.Closest(word, words); near != "" {
		return unknown.WithHint("%s explain %s", o.env.Program, near)
	}
	return unknown.WithHint("%s explain lists them", o.env.Program)
}

// Run prints the list or the one concept.
func (o *options) Run(context.Context) error {
	data := make([]Concept, len(o.chosen))
	names := make([]string, len(o.chosen))
	for i, c := range o.chosen {
		names[i] = c.name
		data[i] = Concept{Name: c.name, Summary: c.summary, Text: strings.TrimSpace(c.text), See: c.see}
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("ConceptList", 0, data),
		Names:    func() []string { return names },
		Text:     o.print,
	})
}

func (o *options) print(w io.Writer, layout printers.Layout) error {
	if o.all {
		table := layout.Table("CONCEPT", "MEANING")
		for _, c := range o.chosen {
			table.Rows = append(table.Rows, []string{c.name, c.summary})
		}
		return table.Write(w)
	}
	c := o.chosen[0]
	_, err := fmt.Fprintf(w, "%s: %s\n\n%s\n\nsee also: %s\n",
		strings.ToUpper(c.name), c.summary, strings.TrimPrefix(c.text, "\n"), strings.Join(c.see, ", "))
	return err
}
