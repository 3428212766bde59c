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
	endWord     = "ended "
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
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	asked := asker{lines: bufio.NewReader(os.Stdin), known: map[string]bool{}}
	driver := &rebalance.Driver{
		RCP: config, Identity: fmt.Sprintf("%s%d", childPrefix, os.Getpid()), LeaseDuration: leaseDuration,
		Settle:   backup.Settle(kube),
		Step:     func(step rebalance.StepName) { asked.step(string(step)) },
		UnitStep: func(step migration.Step) { asked.step(string(step.Name)) },
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

// asker asks at each step that it has not asked at before.
type asker struct {
	lines *bufio.Reader

	mu    sync.Mutex      // held while the parent thinks: other units wait at their next new step
	known map[string]bool // guarded by mu
}

func (a *asker) step(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[name] {
		return
	}
	a.known[name] = true
	fmt.Println(stepWord + name)
	if _, err := a.lines.ReadString('\n'); err != nil {
		os.Exit(1) // the parent is gone
	}
}

// child is such a driver, from outside.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed when the process has ended
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

// goOn lets the child take its step. A child that was killed is past caring.
func (c *child) goOn() { _, _ = io.WriteString(c.in, "\n") }

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// stepIn is the step that a line names.
func stepIn(line string) (string, bool) { return strings.CutPrefix(line, stepWord) }
