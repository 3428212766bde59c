package printers

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

func TestAWideTable(t *testing.T) {
	var out strings.Builder
	table := Table{
		Header: []string{"CELL", "BACKUP LAG", "Mixed_Case"},
		Rows: [][]string{
			{"cell-1", "a long value that must never be wrapped however wide the table becomes by it, at all", "x"},
			{"支付", "", "y"},
		},
	}
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"CELL    BACKUP LAG                                                                            Mixed_Case",
		"cell-1  a long value that must never be wrapped however wide the table becomes by it, at all  x",
		"支付                                                                                          y",
		"",
	}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestATableOnANarrowTerminal has one that fits, ones whose messages are folded, and ones that are records.
func TestATableOnANarrowTerminal(t *testing.T) {
	const red, plain = "\x1b[31m", "\x1b[0m"
	short := Table{Header: []string{"CELL", "STATE"}, Rows: [][]string{{"cell-1", "Ready"}, {"支付", "Down"}}}
	message := Table{Header: []string{"CELL", "MESSAGE"}, Rows: [][]string{
		{"cell-1", red + "it does not answer since yesterday" + plain}, {"支付", "支付 支付 支付 支付 支付 支付"},
	}}
	name := Table{Header: []string{"NAME", "MESSAGE"}, Rows: [][]string{
		{"a-name-that-is-wider-than-that", "it does not answer since yesterday"}, {"b", ""},
	}}
	for _, tc := range []struct {
		what    string
		table   Table
		columns int
		want    string
	}{
		{"fits", short, 14, "CELL    STATE\ncell-1  Ready\n支付    Down\n"},
		{"does not fit", short, 12, "CELL:  cell-1\nSTATE: Ready\n\nCELL:  支付\nSTATE: Down\n"},
		{"folded", message, 32, "CELL    MESSAGE\ncell-1  " + red + "it does not answer since" + plain + "\n        " + red + "yesterday" + plain +
			"\n支付    支付 支付 支付 支付 支付\n        支付\n"},
		{"as records", name, 36, "NAME:    a-name-that-is-wider-than-that\nMESSAGE: it does not answer since\n" +
			"         yesterday\n\nNAME:    b\nMESSAGE:\n"},
		{"a word too long to fold", Table{Header: name.Header, Rows: [][]string{{"b", name.Rows[0][0]}}}, 34,
			"NAME:    b\nMESSAGE: a-name-that-is-wider-than-that\n"},
		{"without rows", Table{Header: name.Header}, 8, "NAME\nMESSAGE\n"},
		{"without a header", Table{Header: short.Header, Rows: short.Rows, NoHeader: true}, 8, "cell-1  Ready\n支付    Down\n"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			tc.table.Columns = tc.columns
			var out strings.Builder
			if err := tc.table.Write(&out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("at %d columns (-want +got):\n%s", tc.columns, diff)
			}
		})
	}
}

// TestATableOnAScreen has the widest row that keeps kubectl's three spaces, those behind the last column counted, and one
// more.
func TestATableOnAScreen(t *testing.T) {
	for _, tc := range []struct {
		width int
		want  string
	}{
		{71, "A" + strings.Repeat(" ", 73) + "B     "},
		{72, "A" + strings.Repeat(" ", 73) + "B"},
	} {
		var out strings.Builder
		if err := (Table{Header: []string{"A", "B"}, Rows: [][]string{{strings.Repeat("a", tc.width), "bbb"}}}).Write(&out); err != nil {
			t.Fatal(err)
		}
		if header, _, _ := strings.Cut(out.String(), "\n"); header != tc.want {
			t.Errorf("width %d: %q; want %q", tc.width, header, tc.want)
		}
	}
}

// TestNoWordIsCutAtAnyWidth: each word is whole on a terminal of any width, also one that is wider than that; no other line is
// wider, as far as it can be read then.
func TestNoWordIsCutAtAnyWidth(t *testing.T) {
	const yellow, plain = "\x1b[33m", "\x1b[0m"
	long := strings.Repeat("a", 253)
	table := Table{Header: []string{"CELL", "OBJECT", "BACKUP LAG", "MESSAGE"}, Rows: [][]string{
		{"cell-1", "configmaps payments/" + long, "1.5s", "it does not answer"},
		{"单元", "部署/支付", "-", yellow + "镜像 拉取失败 从 registry.example 服务器 没有 回答" + plain},
		{"", "", "", strings.Repeat("支付", 126) + " e\u0301 is one character of two runes, 👩‍👩‍👧 of five"},
	}}
	label := len("BACKUP LAG: ")
	for columns := 1; columns < 700; columns++ {
		table.Columns = columns
		var out strings.Builder
		if err := table.Write(&out); err != nil {
			t.Fatal(err)
		}
		text := ansi.Strip(out.String())
		if !utf8.ValidString(text) {
			t.Fatalf("at %d columns a character is cut:\n%q", columns, text)
		}
		for _, row := range table.Rows {
			for word := range strings.FieldsSeq(ansi.Strip(strings.Join(row, " "))) {
				if !strings.Contains(text, word) {
					t.Fatalf("at %d columns there is no %q:\n%s", columns, word, text)
				}
			}
		}
		for line := range strings.Lines(text) {
			_, value, labelled := strings.Cut(line, ": ")
			if !labelled {
				value = line
			}
			wide := ansi.StringWidth(strings.TrimSuffix(line, "\n")) > max(columns, label+readable)
			if words := strings.Fields(value); wide && len(words) > 1 {
				t.Fatalf("at %d columns a line is wider, and has %d words:\n%s", columns, len(words), text)
			}
		}
	}
}

func TestFold(t *testing.T) {
	const text = "a héron waits incomparably long"
	for columns, want := range map[int]string{
		80: text,
		13: "a héron waits\n  incomparably\n  long",
		12: "a héron\n  waits\n  incomparably\n  long",
		5:  "a\n  héron\n  waits\n  incomparably\n  long", // no word is cut
	} {
		if got := Fold(text, columns, "  "); got != want {
			t.Errorf("in %d columns %q, want %q", columns, got, want)
		}
	}
}

func TestClipTo(t *testing.T) {
	for most, want := range map[int]string{5: "héron", 4: "héro…"} {
		if got := ClipTo("héron", most); got != want {
			t.Errorf("to %d characters: %q, want %q", most, got, want)
		}
	}
}
