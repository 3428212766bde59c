package command

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

// A screen is drawn where a person is, on a terminal that can be drawn on, unless the flag says no.
func TestLive(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, test := range map[string]struct {
		flag, term string
		person     bool
		out        io.Writer
		want       bool
	}{
		"a terminal":      {"auto", "xterm", true, terminal, true},
		"never":           {"never", "xterm", true, terminal, false},
		"a dumb terminal": {"auto", "dumb", true, terminal, false},
		"nobody":          {"auto", "xterm", false, terminal, false},
		"a file":          {"auto", "xterm", true, file, false},
		"no file":         {"auto", "xterm", true, io.Discard, false},
	} {
		t.Run(name, func(t *testing.T) {
			var tui TUI
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			tui.AddFlag(flags, "Show it")
			if err := flags.Set("tui", test.flag); err != nil {
				t.Fatal(err)
			}
			env := &Env{Interactive: test.person, Getenv: func(string) string { return test.term }}
			if got := tui.Live(env, test.out); got != test.want || tui.Check() != nil {
				t.Errorf("live %v, check %v; want %v", got, tui.Check(), test.want)
			}
		})
	}
}
