package newcomer

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	prompt = "$"
	// screenWidth is that of the shell's terminal, and so of the recording, in columns.
	screenWidth = 104
)

// mark is the comment before a block of README that says how it is played.
var mark = regexp.MustCompile(`^<!-- newcomer: (clone|skip, .+) -->$`)

// commands are the lines of README's shell blocks, without empty ones.
func commands(t *testing.T, path string, clone bool) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(string(text), clone)
}

// parse is the text of [commands].
func parse(readme string, clone bool) []string {
	var out []string
	inside, played, last := false, false, ""
	for line := range strings.Lines(readme) {
		line = strings.TrimSpace(line)
		switch {
		case inside && line == "```":
			inside = false
		case inside && played && line != "" && (clone || !strings.HasPrefix(line, "make ")):
			out = append(out, line)
		case !inside && line == "```sh":
			inside, played = true, true
			if found := mark.FindStringSubmatch(last); found != nil {
				played = clone && found[1] == "clone"
			}
		}
		last = line
	}
	return out
}

func TestMarksOfBlocks(t *testing.T) {
	readme := "text\n<!-- newcomer: clone -->\n```sh\ngit clone\n```\n<!-- newcomer: skip, slow -->\n```sh\nmake test\n```\n" +
		"```sh\nmake build\n\nkubectl cell # all\n```\n```go\nfunc()\n```\n"
	for clone, want := range map[bool][]string{
		false: {"kubectl cell # all"},
		true:  {"git clone", "make build", "kubectl cell # all"},
	} {
		if got := parse(readme, clone); !slices.Equal(got, want) {
			t.Errorf("clone %v: %q; want %q", clone, got, want)
		}
	}
}

// TestTheRecordingIsOfTheseCommands: docs/first-five-minutes.md is of README as it is now.
func TestTheRecordingIsOfTheseCommands(t *testing.T) {
	page, err := os.ReadFile("../../docs/first-five-minutes.md")
	if err != nil {
		t.Fatal(err)
	}
	if problem := stale(string(page), commands(t, "../../README.md", false)); problem != "" {
		t.Errorf("docs/first-five-minutes.md %s: make recording", problem)
	}
}

// stale is in what the commands of a recorded page differ from others, or "".
func stale(page string, lines []string) string {
	recorded := strings.Split(page, "\n```console\n")[1:]
	if len(recorded) != len(lines) {
		return fmt.Sprintf("has %d commands, README %d", len(recorded), len(lines))
	}
	for i, line := range lines {
		line = prompt + " " + line
		// One that has scrolled away is added as it is.
		if !strings.HasPrefix(recorded[i], wrapped(line, screenWidth)+"\n") && !strings.HasPrefix(recorded[i], line+"\n…\n") {
			return fmt.Sprintf("has no %q at %q", line, strings.SplitN(recorded[i], "\n", 2)[0])
		}
	}
	return ""
}

// wrapped is a line as a terminal of so many columns shows it.
func wrapped(line string, columns int) string {
	var out []string
	for piece := range slices.Chunk([]rune(line), columns) {
		out = append(out, strings.TrimRight(string(piece), " "))
	}
	return strings.Join(out, "\n")
}

func TestStalePages(t *testing.T) {
	long := strings.Repeat("long ", 30)
	page := "# Title\n\n```console\n$ one\nits output\n```\n\n```console\n" + wrapped("$ "+long, screenWidth) + "\n```\n"
	for name, test := range map[string]struct {
		lines []string
		stale bool
	}{
		"the same":              {[]string{"one", long}, false},
		"one more":              {[]string{"one", long, "three"}, true},
		"one fewer":             {[]string{"one"}, true},
		"another":               {[]string{"one", "two"}, true},
		"another order":         {[]string{long, "one"}, true},
		"without what follows":  {[]string{"on", long}, true},
		"shorter by its end":    {[]string{"one", strings.TrimSuffix(long, "ng ")}, true},
		"with something behind": {[]string{"one # why", long}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if problem := stale(page, test.lines); (problem != "") != test.stale {
				t.Errorf("it is said to be stale because it %q", problem)
			}
		})
	}
}
