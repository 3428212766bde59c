package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuaranteesHaveTests wants each row of docs/guarantees.md to name tests, and each file, folder and function that it
// names for one to be there: a test that was renamed takes its promise with it.
func TestGuaranteesHaveTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	functions := testFunctions(t)
	path := regexp.MustCompile("`((?:pkg|test|cmd|scripts)/[^`]*)`")
	promises := 0
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if strings.HasPrefix(line, "| ") && len(cells) == 2 && !strings.HasPrefix(line, "| promise ") {
			promises++
			if !path.MatchString(cells[1]) {
				t.Errorf("line %d names no test: %s", i+1, line)
			}
		}
		for _, named := range path.FindAllStringSubmatch(line, -1) {
			if !hasTest(filepath.Join("../..", named[1])) {
				t.Errorf("line %d: there is no test %s", i+1, named[1])
			}
		}
		for _, name := range testName.FindAllString(line, -1) {
			if !functions[name] {
				t.Errorf("line %d: there is no function %s", i+1, name)
			}
		}
	}
	if promises < 50 {
		t.Errorf("found %d promises", promises)
	}
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)

// hasTest says whether a path is a test, a script of one, or what is below a folder that has some.
func hasTest(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false
	case !info.IsDir():
		return strings.HasSuffix(path, "_test.go") || filepath.Ext(path) == ".txtar"
	case filepath.Base(path) == "testdata":
		path = filepath.Dir(path)
	}
	found := false
	err = filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		found = found || strings.HasSuffix(name, "_test.go")
		return err
	})
	return found && err == nil
}

// testFunctions are the names of all tests, benchmarks and fuzz targets.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, root := range []string{"../../pkg", "../../test", "../../cmd", "../../scripts"} {
		err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, "_test.go") {
				return err
			}
			source, err := os.ReadFile(name)
			for _, function := range declared.FindAllSubmatch(source, -1) {
				out[string(function[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
