package printers

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

type item struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
	Cell  string `json:"cell,omitempty"`
}

func testView() View {
	items := []item{{"a", 10_000_000, "cell-1"}, {"b", 2, ""}}
	return View{
		Document: NewDocument("ItemList", 42, items),
		Names:    func() []string { return []string{"a", "b"} },
		Text: func(w io.Writer, layout Layout) error {
			table := Table{Header: []string{"NAME"}, Rows: [][]string{{"a"}, {"b"}}, NoHeader: layout.NoHeaders}
			if layout.Wide {
				table.Header = append(table.Header, "CELL")
				table.Rows = [][]string{{"a", "cell-1"}, {"b", ""}}
			}
			return table.Write(w)
		},
	}
}

func TestPrinterFormats(t *testing.T) {
	tests := []struct {
		name   string
		output Output
		want   []string
	}{
		{"table", Output{}, []string{"NAME   ", "a      ", "b      "}},
		{"wide", Output{Format: "wide"}, []string{"NAME   CELL     ", "a      cell-1   ", "b               "}},
		{"without headers", Output{NoHeaders: true}, []string{"a   ", "b   "}},
		{"name", Output{Format: "name"}, []string{"a", "b"}},
		{"jsonpath", Output{Format: "jsonpath={.epoch}{range .data[*]} {.name}={.count}{end}"}, []string{"42 a=10000000 b=2"}},
		{"go-template", Output{Format: "go-template={{range .data}}{{.name}} {{end}}"}, []string{"a b "}},
		{
			"custom columns", Output{Format: "custom-columns=NAME:.name,COUNT:{.count},CELL:cell"},
			[]string{"NAME   COUNT      CELL     ", "a      10000000   cell-1   ", "b      2          <none>   "},
		},
		{
			"yaml", Output{Format: "yaml"},
			[]string{
				"apiVersion: cli.kubecell.io/v1", "data:", "- cell: cell-1", "  count: 10000000", "  name: a",
				"- count: 2", "  name: b", "epoch: 42", "kind: ItemList", "warnings: []",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			printer, err := test.output.Printer()
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := printer.Print(&out, testView()); err != nil {
				t.Fatal(err)
			}
			want := strings.Join(test.want, "\n")
			if diff := cmp.Diff(want, strings.TrimSuffix(out.String(), "\n")); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

// The order of the JSON envelope's fields and the empty list of warnings are what scripts and
// people that look at it have come to know.
func TestJSONEnvelope(t *testing.T) {
	printer, err := Output{Format: "json"}.Printer()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	view := View{Document: NewDocument("Item", 7, item{Name: "a"})}
	if err := printer.Print(&out, view); err != nil {
		t.Fatal(err)
	}
	want := `{
    "apiVersion": "cli.kubecell.io/v1",
    "kind": "Item",
    "epoch": 7,
    "data": {
        "name": "a",
        "count": 0
    },
    "warnings": []
}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
}

func TestRefusedFormats(t *testing.T) {
	for _, format := range []string{
		"xml", "JSON", "json=x", "wide=", "name=x", "jsonpath={.a", "go-template={{", "go-template", "jsonpath",
		"custom-columns", "custom-columns=", "custom-columns=NAME", "custom-columns=:.a", "custom-columns=A:{.b",
		"custom-columns=A:[", "=", strings.Repeat("x", 10_000),
	} {
		t.Run(Clip(format), func(t *testing.T) {
			_, err := Output{Format: format}.Printer()
			if format == "custom-columns=A:{.b" {
				if err != nil {
					t.Errorf("a forgotten brace is forgiven, as in kubectl: %v", err)
				}
				return
			}
			if got := exit.CodeOf(err); got != exit.Usage {
				t.Fatalf("exit code %d, want %d (error %v)", got, exit.Usage, err)
			}
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is not one readable line: %q", err)
			}
		})
	}
}

func TestStyleIsPlainUnlessATerminalWantsIt(t *testing.T) {
	env := func(values map[string]string) func(string) string {
		return func(name string) string { return values[name] }
	}
	tests := []struct {
		name     string
		terminal bool
		env      map[string]string
		want     string
	}{
		{"terminal", true, map[string]string{"TERM": "xterm"}, "\x1b[31mx\x1b[0m"},
		{"pipe", false, nil, "x"},
		{"NO_COLOR", true, map[string]string{"NO_COLOR": "1"}, "x"},
		{"dumb terminal", true, map[string]string{"TERM": "dumb"}, "x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := NewStyle(test.terminal, env(test.env)).Bad("x"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
