package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/cli/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/cli/router"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

// programs looks for what people type on PATH: kubectl finds plugins and their completion nowhere else.
func (e *examination) programs() {
	build := version.Get()
	e.ok("kubectl-cell", "%s, %s", build.Version, build.Platform)
	if e.onPath("kubectl") == "" {
		e.found(Failed, "kubectl", "is not on PATH", "https://kubernetes.io/docs/tasks/tools   # says how to get it")
	} else {
		e.ok("kubectl", "%s", e.onPath("kubectl"))
	}
	own, err := home.Program(e.env.Getenv)
	if found := e.onPath(e.env.PluginFile()); found != "" {
		e.ok("PATH", "kubectl finds the plugin: %s", found)
	} else if err == nil {
		e.found(Warning, "PATH", "kubectl does not find "+e.env.PluginFile()+", which is not on PATH",
			fmt.Sprintf(`export PATH="%s:$PATH"`, filepath.Dir(own)))
	}
	if runtime.GOOS == "windows" {
		return // kubectl completes no plugin there
	}
	if e.onPath(e.env.CompletionFile()) == "" {
		e.found(Warning, "completion", "kubectl cannot complete after `"+e.env.Plugin()+"`", e.env.Program+" completion install")
	} else {
		e.ok("completion", "%s", e.onPath(e.env.CompletionFile()))
	}
}

// onPath is where a program is found, or "".
func (e *examination) onPath(program string) string {
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	for _, dir := range filepath.SplitList(e.env.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0) {
			return path
		}
	}
	return ""
}

// stateDir must be usable, and nobody else's business.
func (e *examination) stateDir() {
	dir, err := home.State(e.env.Getenv)
	if err != nil {
		e.failed("state", err)
		return
	}
	another := "export " + home.Env + "=$HOME/kubectl-cell"
	info, err := os.Stat(dir)
	missing := os.IsNotExist(err)
	switch {
	case err != nil && !missing:
		e.found(Failed, "state", err.Error(), another)
		return
	case !missing && !info.IsDir():
		e.found(Failed, "state", dir+" is no directory", another)
		return
	}
	switch err := writable(dir); {
	case errors.Is(err, syscall.ENOSPC):
		e.found(Failed, "state", fmt.Sprintf("%s cannot be written to: %v", dir, err), "df -h "+dir+"   # says how full the disk is: free some space")
	case err != nil:
		e.found(Failed, "state", fmt.Sprintf("%s cannot be written to: %v", dir, err), another)
	case missing:
		e.ok("state", "%s, nothing in it yet", dir)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		e.found(Warning, "state", fmt.Sprintf("others may look into %s (mode %o)", dir, info.Mode().Perm()), "chmod 700 "+dir)
	default:
		e.ok("state", "%s", dir)
	}
}

// writable tries a file in a directory, or in the nearest one above it that exists.
func writable(dir string) error {
	for {
		if _, err := os.Stat(dir); !os.IsNotExist(err) || dir == filepath.Dir(dir) {
			return atomicfile.Try(dir)
		}
		dir = filepath.Dir(dir)
	}
}

// daemons are those of this machine. One that does not run is no fault: it may run elsewhere.
func (e *examination) daemons(ctx context.Context) {
	for _, program := range []launch.Program{router.Program(e.env), backup.Program(e.env)} {
		name := "local " + program.Name
		seen, err := program.Look(ctx)
		if err != nil {
			e.failed(name, err)
			continue
		}
		command := e.env.Program + " " + program.Name
		restart, logs, as := command+" restart", command+" logs --tail 20", ""
		if seen.Unit != "" {
			restart, logs, as = "systemctl restart "+seen.Unit, "journalctl -u "+seen.Unit+" -n 20", ", unit "+seen.Unit
		}
		switch seen.State {
		case launch.Down:
			e.ok(name, "does not run on this machine")
		case launch.Unknown:
			e.found(Warning, name, fmt.Sprintf("may run as the unit %s: %s", seen.Unit, seen.Detail),
				fmt.Sprintf("systemctl status %s   # or: sudo %s status --state-dir %s", seen.Unit, command, seen.StateDir))
		case launch.Stale:
			e.found(Failed, name, "has ended without order: "+seen.Detail, restart+"   # why: "+logs)
		case launch.Up:
			e.ok(name, "pid %d, %s%s", seen.PID, seen.Address, as)
			e.holdOf(ctx, name, seen)
		default:
			e.found(Failed, name, fmt.Sprintf("pid %d is %s: %s", seen.PID, seen.State, seen.Detail), logs)
		}
	}
}

// sandboxes are those of this machine.
func (e *examination) sandboxes() {
	dir, err := home.State(e.env.Getenv)
	if err != nil {
		return // said already
	}
	manager := &sandbox.Manager{StateDir: dir, Getenv: e.env.Getenv, Clock: e.env.Clock}
	list, err := manager.List()
	if err != nil {
		e.failed("sandboxes", err)
		return
	}
	for _, s := range list {
		name := "sandbox " + s.Name
		if s.State == sandbox.Degraded {
			e.found(Warning, name, fmt.Sprintf("some of it does not run: %d of %d cells are up", s.CellsUp, len(s.Cells)),
				e.env.Program+" sandbox up --name "+s.Name)
			continue
		}
		e.ok(name, "%s", s.State)
	}
}
