package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sizes are lengths in lines, by what has them.
type sizes map[string]int

func (s sizes) at(share float64) int {
	all := []int{}
	for _, lines := range s {
		all = append(all, lines)
	}
	slices.Sort(all)
	return all[int(share*float64(len(all)-1))]
}

// measured are the files and functions of this repository but for what is generated, of the program and of its tests.
func measured(t *testing.T) (files, functions map[bool]sizes) {
	t.Helper()
	files, functions = map[bool]sizes{false: {}, true: {}}, map[bool]sizes{false: {}, true: {}}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if ast.IsGenerated(file) {
			return nil
		}
		line := func(at token.Pos) int { return set.Position(at).Line }
		path, _ = filepath.Rel(root, path)
		test := strings.HasSuffix(name, "_test.go")
		files[test][path] = set.File(file.FileStart).LineCount() - 1
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				functions[test][path+":"+strconv.Itoa(line(f.Pos()))] = line(f.End()) - line(f.Pos()) + 1
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, functions
}

// TestSizes wants files and functions of the sizes that docs/architecture.md aims at, that page to say how large the largest
// are, and each file of more than 450 lines to be explained there.
func TestSizes(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Sizes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	files, functions := measured(t)
	for _, c := range []struct {
		what                  string
		of                    sizes
		median, most, longest int // the last 0 for no bound
	}{
		{"files of the program", files[false], 120, 450, 700},
		{"files of tests", files[true], 150, 450, 700},
		{"functions of the program", functions[false], 20, 60, 0},
		{"functions of tests", functions[true], 20, 60, 0},
	} {
		median, most, longest := c.of.at(0.5), c.of.at(0.95), c.of.at(1)
		t.Logf("%s: %d, median %d, 95 %% at most %d, largest %d", c.what, len(c.of), median, most, longest)
		if median > c.median || most > c.most || c.longest > 0 && longest > c.longest {
			t.Errorf("%s: median %d, 95 %% at most %d, largest %d; want %d, %d and %d at most", c.what, median, most, longest, c.median, c.most, c.longest)
		}
		row := regexp.MustCompile(`\| ` + c.what + ` \| [^|]+ \| \d+ \| \d+ \| (\d+) \|`).FindStringSubmatch(section)
		if row == nil {
			t.Errorf("docs/architecture.md has no row of %s", c.what)
		} else if said, _ := strconv.Atoi(row[1]); said < longest {
			t.Errorf("docs/architecture.md: the largest of %s is %s, and has %d", c.what, row[1], longest)
		}
	}
	for _, of := range files {
		for path, lines := range of {
			if lines > 450 && !strings.Contains(section, "`"+filepath.ToSlash(path)+"`") {
				t.Errorf("docs/architecture.md does not explain why %s has %d lines", path, lines)
			}
		}
	}
}
