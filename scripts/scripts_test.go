//go:build unix

// Package scripts_test plays scripts with programs that only pretend to be kubectl and the plugin, to see what is left of a
// script that does not come to its end.
package scripts_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// plugin pretends to start and end control planes: the file record is what is known of them. They do not end before there
// is the file mended; where there is the file patient, somebody waits for that.
const plugin = `#!/bin/sh
case "$*" in
"sandbox up"*) mkdir -p "$KUBECTL_CELL_HOME"; echo cells >"$KUBECTL_CELL_HOME/record" ;;
"sandbox down"*)
  : >"$ROOT/ending"
  while [ -e "$ROOT/patient" ] && [ ! -e "$ROOT/mended" ]; do sleep 0.05; done
  [ -e "$ROOT/mended" ] || { echo "error: they do not end" >&2; exit 1; }
  rm "$KUBECTL_CELL_HOME/record" ;;
esac
`

// specs is what builds a program that runs specs for minutes, and says with which pid.
const specs = `#!/bin/sh
mkdir -p "${1%/*}"
cat >"$1" <<'TEST'
#!/bin/sh
echo $$ >>"$ROOT/pids"
exec sleep 300
TEST
chmod +x "$1"
`

// play is a script in a folder that stands for the clone, and has nothing but that script and what only pretends.
type play struct {
	t *testing.T
	// root is that folder; temporary is where the script makes folders.
	root, temporary string
	cmd             *exec.Cmd
	out             strings.Builder
}

func newPlay(t *testing.T, script string) *play {
	t.Helper()
	p := &play{t: t, root: t.TempDir(), temporary: t.TempDir()}
	for _, name := range []string{script, "cleanup.sh"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p.write(filepath.Join("scripts", name), string(data))
	}
	p.write("bin/kubectl-cell", plugin)
	p.write("bin/kubectl", "#!/bin/sh\nexit 1\n")
	p.write("test/conformance/build.sh", specs)
	p.cmd = exec.Command("bash", filepath.Join(p.root, "scripts", script))
	p.cmd.Env = append(os.Environ(), "ROOT="+p.root, "TMPDIR="+p.temporary, "PATH="+filepath.Join(p.root, "bin")+":"+os.Getenv("PATH"))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// What a script leaves running must not keep the test waiting for the end of its output.
	p.cmd.WaitDelay = time.Second
	return p
}

func (p *play) write(name, content string) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) await(what string, is func() bool) {
	p.t.Helper()
	err := wait.PollUntilContextTimeout(p.t.Context(), 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

func (p *play) has(name string) bool {
	_, err := os.Stat(filepath.Join(p.root, name))
	return err == nil
}

// left are the folders that the script has made, and has not deleted.
func (p *play) left() []string {
	p.t.Helper()
	out, err := filepath.Glob(filepath.Join(p.temporary, "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// pids are those of the programs that run specs.
func (p *play) pids() []int {
	data, _ := os.ReadFile(filepath.Join(p.root, "pids")) // there is none before the first
	var out []int
	for line := range strings.Lines(string(data)) {
		var pid int
		if _, err := fmt.Sscanf(line, "%d\n", &pid); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// A script that cannot end its control planes keeps what is known of them, and says what ends them.
func TestControlPlanesThatDoNotEndAreNotForgotten(t *testing.T) {
	for _, script := range []string{"demo.sh", "bench-start.sh", "conformance.sh"} {
		t.Run(script, func(t *testing.T) {
			p := newPlay(t, script)
			p.write("test/conformance/build.sh", "#!/bin/sh\nmkdir -p \"$KUBECTL_CELL_HOME\"; echo cells >\"$KUBECTL_CELL_HOME/record\"; exit 1\n")
			if err := p.cmd.Run(); err == nil {
				t.Errorf("it says that all is well:\n%s", &p.out)
			}
			left := p.left()
			if len(left) != 1 {
				t.Fatalf("left are %q; want the one folder of the control planes:\n%s", left, &p.out)
			}
			if _, err := os.Stat(filepath.Join(left[0], "state", "record")); err != nil {
				t.Error(err)
			}
			_, hint, said := strings.Cut(p.out.String(), "\n  hint: ")
			if !said {
				t.Fatalf("it says nothing of what is left:\n%s", &p.out)
			}
			p.write("mended", "")
			mend := exec.Command("sh", "-c", hint)
			mend.Env = append(os.Environ(), "ROOT="+p.root)
			if out, err := mend.CombinedOutput(); err != nil || len(p.left()) > 0 {
				t.Errorf("after %q there is %q: %v\n%s", hint, p.left(), err, out)
			}
		})
	}
}

// Whoever is tired of waiting asks twice: what was begun goes to its end.
func TestSecondSignalDoesNotStopTheCleanup(t *testing.T) {
	p := newPlay(t, "conformance.sh")
	p.write("patient", "")
	p.begin(3)
	p.signal()
	p.await("the end of the control planes", func() bool { return p.has("ending") })
	p.signal()
	p.write("mended", "")
	if err := p.cmd.Wait(); err == nil {
		t.Error("it says that all is well")
	}
	if left := p.left(); len(left) > 0 {
		t.Errorf("left are %q:\n%s", left, &p.out)
	}
}

// The programs that run specs end with the script.
func TestSpecsEndWithTheScript(t *testing.T) {
	p := newPlay(t, "conformance.sh")
	p.write("mended", "")
	p.begin(3)
	p.signal()
	if err := p.cmd.Wait(); err == nil {
		t.Error("it says that all is well")
	}
	for _, pid := range p.pids() {
		p.await(fmt.Sprintf("the end of %d", pid), func() bool { return !daemon.Alive(pid) })
	}
	if left := p.left(); len(left) > 0 {
		t.Errorf("left are %q:\n%s", left, &p.out)
	}
}

// begin starts the script and waits until so many programs run specs. They end with the test.
func (p *play) begin(programs int) {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, where all went well
		for _, pid := range p.pids() {
			if daemon.Alive(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	p.await("programs that run specs", func() bool { return len(p.pids()) == programs })
}

func (p *play) signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}
