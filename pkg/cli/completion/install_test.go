package completion

import (
	"os"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// TestInstallIsRefusedOnWindows: a script of sh would be written, which no kubectl there runs.
func TestInstallIsRefusedOnWindows(t *testing.T) {
	dir := t.TempDir()
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	env := &command.Env{IOStreams: streams, Getenv: func(string) string { return "" }, Program: "kubectl kubecell"}
	for system, want := range map[string]exit.Code{"windows": exit.Refused, "linux": exit.OK, "darwin": exit.OK} {
		o := &installOptions{env: env, system: system, dir: dir}
		err := o.Complete(nil)
		if got := exit.CodeOf(err); got != want {
			t.Errorf("%s: exit code %d, %v; want %d", system, got, err, want)
		}
		if want == exit.OK {
			continue
		}
		if hint := exit.HintOf(err, env.Program); !strings.HasPrefix(hint, "kubectl-kubecell completion powershell | ") {
			t.Errorf("%s: the hint is %q", system, hint)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
