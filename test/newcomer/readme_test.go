package newcomer

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
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
