// Command generate writes what is derived from the commands of kubectl cell: their pages in docs/cli,
// docs/exit-codes.md, and the files in completions.
//
//	go run ./scripts/generate          writes them
//	go run ./scripts/generate --check  fails where one of them is not as it would be written
//	go run ./scripts/generate --man DIR  writes manual pages into a folder, for packages, and nothing else
//
// It is run in the root of the repository.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// ownedFolders hold generated files alone: what is not generated any more is removed from them.
func ownedFolders() []string { return []string{"docs/cli", "completions"} }

func main() {
	check := flag.Bool("check", false, "change nothing, fail where a file is stale")
	man := flag.String("man", "", "folder for manual pages; nothing else is written")
	flag.Parse()
	if err := run(*check, *man); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(check bool, man string) error {
	if man != "" {
		return writeManPages(cli.NewCommand(newEnv(io.Discard)), man)
	}
	files, err := generate()
	if err != nil {
		return err
	}
	stale, err := staleFiles(files)
	if err != nil {
		return err
	}
	if check {
		if len(stale) > 0 {
			return fmt.Errorf("stale: %s; run: go run ./scripts/generate", strings.Join(stale, ", "))
		}
		return nil
	}
	for _, path := range stale {
		if err := write(path, files[path]); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}

// file is one generated file.
type file struct {
	content []byte
	mode    fs.FileMode
}

// generate returns all files by path.
func generate() (map[string]file, error) {
	files := map[string]file{}
	maps.Copy(files, commandPages(cli.NewCommand(newEnv(io.Discard))))
	files["docs/exit-codes.md"] = file{exitCodePage(cli.NewCommand(newEnv(io.Discard))), 0o644}
	completions, err := completionFiles()
	maps.Copy(files, completions)
	return files, err
}

// newEnv is an environment in which every machine writes the same.
func newEnv(out io.Writer) *command.Env {
	return &command.Env{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: io.Discard},
		Flags:     genericclioptions.NewConfigFlags(true),
		Clock:     clocktesting.NewFakePassiveClock(time.Time{}),
		Getenv:    func(string) string { return "" },
		Program:   "kubectl cell",
	}
}

// staleFiles are the paths whose files differ from files, sorted; those that should not be there have
// no entry in files.
func staleFiles(files map[string]file) ([]string, error) {
	stale := map[string]bool{}
	for path, want := range files {
		got, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(got, want.content) {
			stale[path] = true
		}
	}
	for _, folder := range ownedFolders() {
		found, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if _, wanted := files[filepath.ToSlash(path)]; !wanted {
				stale[path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(stale)), nil
}

// write writes the file, or removes it where f is empty.
func write(path string, f file) error {
	if f.content == nil {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteBytes(path, f.mode, f.content)
}
