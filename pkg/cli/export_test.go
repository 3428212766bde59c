package cli_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// output is what a command prints that needs no server.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	env := &command.Env{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut},
		Flags:     genericclioptions.NewConfigFlags(true),
		Clock:     clock.RealClock{},
		Getenv:    func(string) string { return "" },
		Program:   "kubectl cell",
	}
	if code := cli.Run(t.Context(), env, append([]string{"kubectl-cell"}, args...)); code != exit.OK {
		t.Fatalf("%v: exit code %d: %s", args, code, &errOut)
	}
	return out.String()
}

// systemd itself has nothing to say against a unit, on Linux; its shape is right everywhere.
func TestUnitsAreValid(t *testing.T) {
	setting := regexp.MustCompile(`^[A-Z][A-Za-z]+=\S`)
	for name, args := range map[string][]string{
		"router": {"--client-ca-file", "/etc/a folder/100%/ca.crt", "--audit-log-path", "/var/log/audit.log", "--audit-policy-file", `/etc/$HOME/"p"`},
		"backup": {"--state-dir", "/srv/a b"},
	} {
		args = append([]string{name, "export", "systemd", "--user", "root", "--rcp-kubeconfig", "/etc/rcp.conf"}, args...)
		unit := output(t, append(args, "--executable", os.Args[0])...)
		var sections []string
		for line := range strings.Lines(unit) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case strings.HasPrefix(line, "["):
				sections = append(sections, line)
			case line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, "    "):
			case !setting.MatchString(line):
				t.Errorf("%s: line %q is no setting", name, line)
			}
		}
		if got := strings.Join(sections, " "); got != "[Unit] [Service] [Install]" {
			t.Errorf("%s: sections are %s", name, got)
		}
		path := filepath.Join(t.TempDir(), "kubectl-cell-"+name+".service")
		if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "linux" {
			continue
		}
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatalf("%v: install systemd, which need not run (apt-get install systemd, or dnf install systemd)", err)
		}
		if err != nil || strings.Contains(string(out), filepath.Base(path)) {
			t.Errorf("systemd-analyze verify: %v\n%s\n%s", err, out, unit)
		}
	}
}
