//go:build linux

package newcomer

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/tui/terminaltest"
)

const ctrlL = "\x0c"

// question is how the commands ask; what is to be typed is said.
var question = regexp.MustCompile(`Type (\S+) to confirm:$`)

// shell is one on a terminal.
type shell struct {
	t        *testing.T
	terminal *terminaltest.Terminal
	// codes is the file to which the shell adds the exit code of each command.
	codes string
	ended int
}

// newShell starts a shell in a folder, with nothing in its environment but this.
func newShell(t *testing.T, dir string, width, height int, environ []string) *shell {
	t.Helper()
	s := &shell{t: t, codes: filepath.Join(t.TempDir(), "codes")}
	args := append([]string{"-i"}, environ...)
	args = append(args, "TERM=vt100", "PS1=$ ", `PROMPT_COMMAND=echo $? >>`+s.codes, "bash", "--norc", "--noprofile", "+o", "history")
	s.terminal = terminaltest.Start(t, width, height, nil, "env", args...)
	s.terminal.Await("the shell to be ready", s.atPrompt)
	s.ended = 1
	if _, code := s.run("cd " + dir); code != 0 {
		t.Fatalf("cd %s: exit code %d", dir, code)
	}
	return s
}

// run types a command, answers what it asks, and returns what is on the screen at its end and its exit code.
func (s *shell) run(line string) (screen string, code int) {
	s.t.Helper()
	s.terminal.Press(ctrlL)
	s.terminal.Await("an empty screen", func(screen string) bool { return strings.TrimSpace(screen) == prompt })
	s.terminal.Press(line + "\r")
	for {
		asked := ""
		screen = s.terminal.Await("the end of "+line, func(screen string) bool {
			if found := question.FindStringSubmatch(lastLine(screen)); found != nil {
				asked = found[1]
				return true
			}
			return s.atPrompt(screen) && len(s.read()) > s.ended
		})
		if asked == "" {
			break
		}
		s.terminal.Press(asked + "\r")
		s.terminal.Await("the answer", func(screen string) bool { return !question.MatchString(lastLine(screen)) })
	}
	codes := s.read()
	s.ended = len(codes)
	code, err := strconv.Atoi(codes[s.ended-1])
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimRight(screen, "\n"), "\n"+prompt), code
}

func (s *shell) atPrompt(screen string) bool { return lastLine(screen) == prompt }

// read are the exit codes so far.
func (s *shell) read() []string {
	text, err := os.ReadFile(s.codes)
	if err != nil {
		return nil // no command has ended yet
	}
	return strings.Fields(string(text))
}

func lastLine(screen string) string {
	screen = strings.TrimRight(screen, "\n ")
	return screen[strings.LastIndexByte(screen, '\n')+1:]
}
