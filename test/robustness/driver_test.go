package robustness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// The environment that makes a driver of this test binary: it drives a run, says before each named step which it is,
// the first time that it comes to it, and waits for a line before it goes on. So its parent can break something, or
// kill it, at exactly that moment.
const (
	driveEnv   = "ROBUSTNESS_DRIVE"
	kubeEnv    = "ROBUSTNESS_KUBECONFIG"
	contextEnv = "ROBUSTNESS_CONTEXT"
	// childPrefix begins the identity of such a driver.
	childPrefix = "child-"
	stepWord    = "step "
	// scaleWord tells of the cell and the name of an object that can be scaled between its copy and its flip.
	scaleWord = "scalable "
	// againWord is the answer that wants to be told of the same step again.
	againWord = "again"
	endWord   = "ended "
	// leaseDuration is short, so that little time is spent waiting for a driver that is dead.
	leaseDuration = 3 * time.Second
)

func TestMain(m *testing.M) {
	if name := os.Getenv(driveEnv); name != "" {
		os.Exit(driveAsChild(name))
	}
	if name := os.Getenv(failOverEnv); name != "" {
		os.Exit(failOverAsChild(name))
	}
	os.Exit(sandboxtest.Main(m))
}

// childConfig is the way to the RCP for a driver.
func childConfig() (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: os.Getenv(kubeEnv)}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: os.Getenv(contextEnv)}).ClientConfig()
}

func driveAsChild(name string) int {
	config, err := childConfig()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config.Wrap(tellWrites)
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	asked := asker{lines: bufio.NewReader(os.Stdin), known: map[string]bool{}}
	driver := &rebalance.Driver{
		RCP: config, Identity: fmt.Sprintf("%s%d", childPrefix, os.Getpid()), LeaseDuration: leaseDuration,
		Settle:   backup.Settle(kube),
		WrapCell: func(_ string, config *rest.Config) { config.Wrap(tellWrites) },
		Step:     func(step rebalance.StepName) { asked.step(string(step)) },
		UnitStep: asked.unitStep,
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	run, err := driver.Run(context.Background(), name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(endWord + string(run.Status.Phase))
	return 0
}

// asker asks at each step that it has not asked at before, or is to ask at again.
type asker struct {
	lines *bufio.Reader

	mu    sync.Mutex      // held while the parent thinks: other units wait at their next new step
	known map[string]bool // guarded by mu
}

func (a *asker) step(name string) { a.ask(name, stepWord+name) }

func (a *asker) unitStep(step migration.Step) {
	a.step(string(step.Name))
	if step.Name == migration.Verified && step.Object.Resource.GroupVersionResource == deployments {
		a.ask(scaleWord, scaleWord+step.Unit.From+" "+step.Object.Name)
	}
}

// ask tells of something, and again when it comes again only where that is asked for.
func (a *asker) ask(what, line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[what] {
		return
	}
	fmt.Println(line)
	answer, err := a.lines.ReadString('\n')
	if err != nil {
		os.Exit(1) // the parent is gone
	}
	a.known[what] = strings.TrimSpace(answer) != againWord
}

// child is such a driver, from outside.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed when the process has ended
	// asleep is set while it is suspended: who is killed then does not go on, and shows nothing.
	asleep atomic.Bool
}

func (b *bed) drive(run string) *child {
	b.t.Helper()
	return b.child(driveEnv, run)
}

func (b *bed) child(env, run string) *child {
	b.t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^$"), lines: make(chan string, 64)}
	c.cmd.Env = append(os.Environ(), env+"="+run, kubeEnv+"="+b.box.Kubeconfig, contextEnv+"="+b.box.Name+"-rcp")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(b.box.Dir("logs")+"/driver.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	b.must(err)
	defer log.Close()
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	b.must(err)
	c.in, err = c.cmd.StdinPipe()
	b.must(err)
	b.must(c.cmd.Start())
	go func() { // ends with the process
		defer close(c.lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			c.lines <- scanner.Text()
		}
		_ = c.cmd.Wait()
	}()
	return c
}

// goOn lets the child take its step, and tell of it again. A child that was killed is past caring.
func (c *child) goOn(again bool) {
	answer := ""
	if again {
		answer = againWord
	}
	_, _ = io.WriteString(c.in, answer+"\n")
}

func (c *child) identity() string { return fmt.Sprintf("%s%d", childPrefix, c.cmd.Process.Pid) }

// kill is false for one that has ended.
func (c *child) kill() bool { return c.cmd.Process.Kill() == nil }

// killAwake is kill, and false as well for one that is suspended.
func (c *child) killAwake() bool { return !c.asleep.Load() && c.kill() }

// stepIn is the step that a line names.
func stepIn(line string) (string, bool) { return strings.CutPrefix(line, stepWord) }
