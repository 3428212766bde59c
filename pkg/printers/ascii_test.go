package printers

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

func TestUTF8(t *testing.T) {
	for _, test := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", true},
		{"", "", "zh_CN.UTF-8", true},
		{"", "", "zh_CN", true},
		{"", "", "de_DE.utf8@euro", true},
		{"", "", "C.UTF-8", true},
		{"", "", "C", false},
		{"POSIX", "", "zh_CN.UTF-8", false},
		{"", "C", "zh_CN.UTF-8", false},
		{"C.UTF-8", "C", "C", true},
		{"", "", "zh_CN.GB18030", false},
		{"", "", "en_US.ISO-8859-1", false},
	} {
		environ := map[string]string{"LC_ALL": test.all, "LC_CTYPE": test.ctype, "LANG": test.lang}
		if got := UTF8(func(name string) string { return environ[name] }); got != test.want {
			t.Errorf("LC_ALL=%s LC_CTYPE=%s LANG=%s: %v; want %v", test.all, test.ctype, test.lang, got, test.want)
		}
	}
}

// Whatever this program prints of itself has its ASCII: each character of each string in its source.
func TestEverySymbolHasASCII(t *testing.T) {
	seen := map[rune]string{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING && literal.Kind != token.CHAR {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			for _, r := range text {
				seen[r] = path
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(seen, '\uFEFF') // read, never printed
	var out bytes.Buffer
	w := ASCII(&out)
	for symbol, path := range seen {
		out.Reset()
		if _, err := w.Write([]byte(string(symbol))); err != nil {
			t.Fatal(err)
		}
		if text := out.String(); len(text) != 1 || symbol > 127 && ansi.StringWidth(string(symbol)) != len(text) {
			t.Errorf("%q of %s comes out as %q", symbol, path, text)
		}
	}
	if len(seen) < 100 {
		t.Errorf("found %d characters", len(seen))
	}
}

// Data stays as it is: other characters, and whatever goes past the writer. A character may come in pieces.
func TestASCIIKeepsData(t *testing.T) {
	const text = "✔ 支付 → é\xff…"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := ASCII(&out)
		for rest := []byte(text); len(rest) > 0; {
			n, err := w.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got, want := out.String(), "+ 支付 > é\xff~"; got != want {
			t.Errorf("%d bytes at a time: %q; want %q", size, got, want)
		}
		out.Reset()
		if _, err := Verbatim(w).Write([]byte(text)); err != nil || out.String() != text {
			t.Errorf("verbatim: %q, %v", out.String(), err)
		}
	}
	file := ASCII(os.Stdout)
	if f, ok := file.(interface{ Fd() uintptr }); !ok || f.Fd() != os.Stdout.Fd() || Verbatim(file) != os.Stdout {
		t.Errorf("what was a file is %T", file)
	}
}

// Standard output is a file, and each way to write to one is through the writer.
func TestASCIIOfAFile(t *testing.T) {
	const text = "a → b ✔\n"
	for name, write := range map[string]func(io.Writer) error{
		"Fprint":      func(w io.Writer) error { _, err := fmt.Fprint(w, text); return err },
		"WriteString": func(w io.Writer) error { _, err := io.WriteString(w, text); return err },
		// A reader that writes itself does so by WriteString; of another one a file reads, if it can.
		"Copy of a string": func(w io.Writer) error { _, err := io.Copy(w, strings.NewReader(text)); return err },
		"Copy of a reader": func(w io.Writer) error {
			_, err := io.Copy(w, io.LimitReader(strings.NewReader(text), int64(len(text))))
			return err
		},
		"Table": func(w io.Writer) error { return Table{NoHeader: true, Rows: [][]string{{"a → b ✔"}}}.Write(w) },
	} {
		t.Run(name, func(t *testing.T) {
			r, file, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := errors.Join(write(ASCII(file)), file.Close()); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || strings.TrimSpace(string(got)) != "a > b +" {
				t.Errorf("it wrote %q, %v", got, err)
			}
		})
	}
}
