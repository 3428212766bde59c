package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestComponentsAreInTheTable: docs/architecture.md leads to each package below pkg. Commands have one row for all, and so
// have packages that are for tests alone.
func TestComponentsAreInTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]bool{}
	err = filepath.WalkDir("../../pkg", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
			packages[strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 30 {
		t.Errorf("found %d packages", len(packages))
	}
	for name := range packages {
		if strings.HasPrefix(name, "pkg/cli/") || strings.HasSuffix(name, "test") {
			continue
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/architecture.md does not say what %s is for", name)
		}
	}
}
