//go:build linux

package cli_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// TestAUnitOfAnotherUser: what a unit keeps is for its own user. Others are not told that nothing runs, but how to ask.
func TestAUnitOfAnotherUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "router")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, command.LockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"HOME": "/nowhere", launch.UnitsHomeEnv: filepath.Dir(dir)}
	withoutRights(t, dir)
	for _, test := range []struct {
		command     string
		code        exit.Code
		out, errOut string
	}{
		{"router status", exit.OK, " Unknown ", "sudo kubectl cell router status --state-dir " + dir + ", or: systemctl status kubectl-cell-router\n"},
		{"router status --exit-status", exit.Findings, " Unknown ", "systemctl status kubectl-cell-router\n"},
		{"router status -o json", exit.OK, `"state": "Unknown"`, ""},
		{"router logs", exit.Failure, "", "or: journalctl -u kubectl-cell-router\n"},
		{"router stop", exit.OK, "router is not running; nothing to do\n", "or: sudo systemctl stop kubectl-cell-router\n"},
		{"router restart", exit.Refused, "", "\n  hint: sudo systemctl restart kubectl-cell-router\n"},
		{"doctor", exit.Findings, "may run as the unit kubectl-cell-router: " + dir + " is for other users\n    fix: systemctl status kubectl-cell-router ", ""},
	} {
		var out, errOut bytes.Buffer
		flags := genericclioptions.NewConfigFlags(true)
		*flags.KubeConfig = "/nowhere/kubeconfig"
		env := &command.Env{
			IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut},
			Flags:     flags,
			Clock:     clock.RealClock{},
			Getenv:    func(name string) string { return environ[name] },
			Program:   "kubectl cell",
		}
		code := cli.Run(t.Context(), env, append([]string{"kubectl-cell"}, strings.Fields(test.command)...))
		if code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(errOut.String(), test.errOut) {
			t.Errorf("%s: exit code %d\n%s%s", test.command, code, &out, &errOut)
		}
	}
}

// withoutRights has this goroutine, and no other, look into a directory in vain until the end of the test, also as root.
func withoutRights(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // else it stays, which is found out
	if os.Geteuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Setfsuid(0); err != nil {
				t.Fatal(err)
			}
			runtime.UnlockOSThread()
		})
	}
	if _, err := os.ReadDir(dir); !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("it can be read: %v", err)
	}
}
