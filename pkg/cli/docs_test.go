package cli_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/cli"
)

// TestCommandsInDocuments wants each `kubectl cell` of README.md and docs to be one that this program takes: command,
// flags, their values and the number of arguments. The commands of fenced blocks have to be whole; text between may
// name a command without its arguments. docs/cli is made from the commands; see TestExamplesOfCommands.
func TestCommandsInDocuments(t *testing.T) {
	checked := 0
	for _, path := range documents(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range passages(string(data)) {
			where := fmt.Sprintf("%s:%d", path, p.line)
			if p.unlabelled {
				t.Errorf("%s: mark the block of commands as sh, or as console where it shows output: %s", where, p.text)
			}
			lines, err := commandLines(p.text)
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
			for _, words := range lines {
				checked++
				if err := takes(words, p.prose); err != nil {
					t.Errorf("%s: kubectl cell %s: %v", where, strings.Join(words, " "), err)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("found %d commands", checked)
	}
}

// TestExamplesOfCommands wants the examples of each command to be ones that this program takes, and at least one of them
// to show the command itself.
func TestExamplesOfCommands(t *testing.T) {
	for _, cmd := range allCommands(newRoot()) {
		lines, err := commandLines(cmd.Example)
		if err != nil {
			t.Errorf("%s: %v", cmd.CommandPath(), err)
		}
		shown := false
		for _, words := range lines {
			shown = shown || strings.HasPrefix("kubectl cell "+strings.Join(words, " ")+" ", cmd.CommandPath()+" ")
			if err := takes(words, false); err != nil {
				t.Errorf("%s has the example kubectl cell %s: %v", cmd.CommandPath(), strings.Join(words, " "), err)
			}
		}
		if !shown && cmd.HasParent() {
			t.Errorf("no example of %s shows it", cmd.CommandPath())
		}
	}
}

// allCommands are a command and all below it.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		out = append(out, allCommands(child)...)
	}
	return out
}

// TestCommandsOfTheK9sPlugin wants the command that a key of k9s runs to be one that this program takes.
func TestCommandsOfTheK9sPlugin(t *testing.T) {
	data, err := os.ReadFile("../../plugins/k9s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Plugins map[string]struct{ Args []string }
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for name, plugin := range file.Plugins {
		lines, err := commandLines(plugin.Args[len(plugin.Args)-1])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, words := range lines {
			checked++
			if err := takes(words, false); err != nil {
				t.Errorf("%s: kubectl cell %s: %v", name, strings.Join(words, " "), err)
			}
		}
	}
	if checked == 0 {
		t.Error("no plugin calls kubectl cell")
	}
}

// documents are the pages that people write.
func documents(t *testing.T) []string {
	t.Helper()
	paths := []string{"../../README.md"}
	err := filepath.WalkDir("../../docs", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "cli":
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// passage is a part of a document that may hold commands.
type passage struct {
	text       string
	line       int
	prose      bool   // between backquotes in a sentence
	shell      bool   // a block of sh
	excuse     string // why it is not run, where a comment before the block of sh says so
	sandbox    bool   // run in a sandbox of its own, by such a comment
	unlabelled bool   // commands in a block that does not say so
}

// passages are the blocks of commands of a page, those of console without their output, and what stands between
// backquotes.
func passages(page string) []passage {
	fence := regexp.MustCompile("^\\s*```(\\w*)$")
	excuse := regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	span := regexp.MustCompile("`([^`]+)`")
	command := regexp.MustCompile(`^(\$ )?(sudo )?kubectl[ -]cell `)
	var out []passage
	var block *passage
	language, last := "", ""
	for i, line := range strings.Split(page, "\n") {
		marker := fence.FindStringSubmatch(line)
		switch {
		case marker != nil && block == nil:
			language, block = marker[1], &passage{line: i + 1, shell: marker[1] == "sh"}
			if found := excuse.FindStringSubmatch(last); found != nil {
				block.excuse = found[1]
			}
			block.sandbox = last == "<!-- run in a sandbox -->"
		case marker != nil:
			out, block = append(out, *block), nil
		case block == nil:
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				out = append(out, passage{text: m[1], line: i + 1, prose: true})
			}
		case language == "sh":
			block.text += line + "\n"
		case language == "console":
			typed, ok := strings.CutPrefix(line, "$ ")
			if ok || strings.HasSuffix(block.text, "\\\n") {
				block.text += typed + "\n"
			}
		case command.MatchString(line):
			block.text, block.unlabelled = line, true
		}
		last = line
	}
	return out
}

// commandLines are the words that follow each `kubectl cell` or `kubectl-cell` of a script, wherever in it that is called. A word with …
// stands for more that is not said, and ends its line. A script that is no shell script is an error if it has such
// words at all.
func commandLines(script string) ([][]string, error) {
	if !regexp.MustCompile(`kubectl[ -]cell `).MatchString(script) {
		return nil, nil
	}
	all, err := calls(script)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for _, words := range all {
		if words[0] == "kubectl-cell" {
			words = words[1:]
		} else if at := slices.Index(words, "kubectl"); at >= 0 && at+1 < len(words) && words[at+1] == "cell" {
			words = words[at+2:]
		} else {
			continue
		}
		out = append(out, said(words))
	}
	return out, nil
}

// said are the words before the first one with …, which stands for more.
func said(words []string) []string {
	if end := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, "…") }); end >= 0 {
		return words[:end]
	}
	return words
}

// calls are the words of each command of a script.
func calls(script string) ([][]string, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", script, err)
	}
	var out [][]string
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, word := range call.Args {
			words = append(words, text(script, word))
		}
		out = append(out, words)
		return true
	})
	return out, nil
}

// text is a word as the shell would pass it on, as far as that is known without a shell.
func text(script string, word *syntax.Word) string {
	if len(word.Parts) == 1 {
		if quoted, ok := word.Parts[0].(*syntax.SglQuoted); ok {
			return quoted.Value
		}
	}
	if literal := word.Lit(); literal != "" {
		return literal
	}
	return script[word.Pos().Offset():word.End().Offset()]
}

// takes says what is wrong with the words after `kubectl cell`. N stands for a number. In prose a command may stand
// without arguments.
func takes(words []string, prose bool) error {
	number := regexp.MustCompile(`\bN\b`)
	args := make([]string, len(words))
	for i, word := range words {
		args[i] = number.ReplaceAllString(word, "1")
	}
	cmd, args, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	args = cmd.Flags().Args()
	if len(args) > 0 && !cli.Works(cmd) {
		return fmt.Errorf("there is no %s", args[0])
	}
	if help, _ := cmd.Flags().GetBool("help"); help || prose && len(args) == 0 {
		return nil
	}
	if err := cmd.ValidateArgs(args); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	return cmd.ValidateFlagGroups()
}
