package main

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli"
)

// TestManPages: each command has a page of its own, with what it does, its flags, an example and how it ends.
func TestManPages(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man")
	root := cli.NewCommand(newEnv(io.Discard))
	if err := writeManPages(root, folder); err != nil {
		t.Fatal(err)
	}
	count := 0
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		count++
		page := readPage(t, filepath.Join(folder, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1.gz"))
		for _, section := range []string{".TH", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXAMPLE", ".SH EXIT STATUS"} {
			if !strings.Contains(page, "\n"+section) {
				t.Errorf("the page of %s has no %s", cmd.CommandPath(), section)
			}
		}
		for _, child := range cmd.Commands() {
			if child.IsAvailableCommand() {
				check(child)
			}
		}
	}
	check(root)
	if files, err := os.ReadDir(folder); err != nil || len(files) != count {
		t.Errorf("%d pages of %d commands, %v", len(files), count, err)
	}
}

func readPage(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
