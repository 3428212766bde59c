package cli_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOneForm: what all commands say in one form has one place in the code, and nobody writes it by hand.
func TestOneForm(t *testing.T) {
	forms := []struct {
		by   string
		hand *regexp.Regexp
	}{
		{"command.Env.Warn", regexp.MustCompile(`"warning: `)},
		{"exit.Flagf", regexp.MustCompile(`sagef\("--?[a-z%][^"]*(: it must|; it must| must | is unknown| is no| is not| twice|; allowed are)`)},
		{"exit.Exclusive", regexp.MustCompile(`exclude each other|MarkFlagsMutuallyExclusive`)},
		{"exit.Required", regexp.MustCompile(`--\S+ is (required|missing)`)},
		{"command.TUI", regexp.MustCompile(`"tui"|IsTerminal\(`)},
	}
	homes := []string{"pkg/cli/command/", "pkg/exit/"}
	seen := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		name := strings.Replace(filepath.ToSlash(path), "..", "pkg", 1)
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		seen++
		for _, home := range homes {
			if strings.HasPrefix(name, home) {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			for _, form := range forms {
				if form.hand.MatchString(line) {
					t.Errorf("%s: use %s: %s", name, form.by, strings.TrimSpace(line))
				}
			}
		}
		return err
	})
	if err != nil || seen < 100 {
		t.Errorf("%d files looked at: %v", seen, err)
	}
}
