package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each bad input: one line that says what is wrong, a hint, and the documented exit code.
func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.MkdirAll(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "ports.json"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown command":       {[]string{"walk"}, 2, `error: unknown command "walk"`},
		"unknown flag":          {[]string{"run", "--speed", "9"}, 2, "error: unknown flag: --speed"},
		"argument":              {[]string{"run", "now"}, 2, `error: unknown command "now"`},
		"no directory":          {[]string{"run", "--name", "x"}, 2, "error: --dir is missing"},
		"no name":               {[]string{"run", "--dir", dir}, 2, "error: --name is missing"},
		"name is no label":      {[]string{"run", "--dir", dir, "--name", "Cell_1"}, 2, `error: --name "Cell_1" is not a DNS label`},
		"port is no number":     {[]string{"run", "--dir", dir, "--name", "x", "--port", "http"}, 2, `error: invalid argument "http" for "--port"`},
		"port too large":        {[]string{"run", "--dir", dir, "--name", "x", "--port", "70000"}, 2, "error: --port 70000 is not a port"},
		"port negative":         {[]string{"run", "--dir", dir, "--name", "x", "--port", "-1"}, 2, "error: --port -1 is not a port"},
		"bind is no address":    {[]string{"run", "--dir", dir, "--name", "x", "--bind", "localhost"}, 2, `error: --bind "localhost" is not an IP address`},
		"bind is not ours":      {[]string{"run", "--dir", dir, "--name", "x", "--bind", "192.0.2.1"}, 1, "error: no free port found"},
		"directory is a file":   {[]string{"run", "--dir", file, "--name", "x"}, 1, "error: directory " + file + " cannot be used"},
		"directory in a file":   {[]string{"run", "--dir", file + "/in", "--name", "x"}, 1, "error: directory " + file + "/in cannot be used"},
		"damaged port file":     {[]string{"run", "--dir", damaged, "--name", "x"}, 1, "error: file " + damaged + "/ports.json does not hold a port"},
		"unknown output":        {[]string{"version", "-o", "xml"}, 2, `error: -o "xml" is not known`},
		"controllers by hand":   {[]string{"controllers", "--speed"}, 2, "error: unknown flag: --speed"},
		"negative verbosity":    {[]string{"run", "--dir", dir, "--name", "x", "-v", "-3"}, 2, "error: -v -3 is negative"},
		"value of flag missing": {[]string{"run", "--dir"}, 2, "error: flag needs an argument: --dir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := command(t, test.args...)
			if code != test.code {
				t.Errorf("exit code: got %d, want %d", code, test.code)
			}
			if !strings.HasPrefix(stderr, test.want) {
				t.Errorf("standard error: got %q, want it to begin with %q", stderr, test.want)
			}
			if lines := strings.Split(strings.TrimSpace(stderr), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "  hint: ") {
				t.Errorf("standard error: got %q, want one line and a hint", stderr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, "version", "-o", "json")
	if code != 0 || stderr != "" {
		t.Fatalf("got exit code %d and %q", code, stderr)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got["kubernetes"] != "v1.36.3" || got["build"] == "" || got["build"] == "unknown" {
		t.Errorf("got %v", got)
	}
	if stdout, _, _ = command(t, "version"); !strings.HasPrefix(stdout, "kubernetes v1.36.3\nbuild ") {
		t.Errorf("for people: got %q", stdout)
	}
}

func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Getenv(binaryVariable), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
