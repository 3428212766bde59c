package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestCommandsFailSoonWithoutTheRCP asks a router control plane that hangs, then a router whose control plane is gone.
func TestCommandsFailSoonWithoutTheRCP(t *testing.T) {
	newBed(t)
	rcp := planes.Configs(t)[0]
	gate := sandboxtest.NewGate(t, rcp.Host)
	rcp.Host = gate.URL()
	through := routertest.Run(t, rcp).Config

	gate.Hang()
	wantFailures(t, rcp, "no answer within", command.AnswerWithin+5*time.Second)
	gate.Vanish()
	// Until the router knows, each request finds out for itself.
	wantFailures(t, through, "router control plane does not answer", 20*time.Second)
}

// wantFailures runs commands at the same time, each of which has to fail within a time and say why.
func wantFailures(t *testing.T, config *rest.Config, why string, within time.Duration) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, sandboxtest.Kubeconfig(t, config), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked sync.WaitGroup
	for _, args := range [][]string{
		{"where", "payments/checkout"}, {"status"}, {"get", "cells"}, {"get", "workloads"}, {"history"}, {"events"},
		{"weight", "cell-1", "200", "--dry-run"}, {"drain", "cell-1", "--dry-run"}, {"rebalance", "--dry-run"}, {"rebalance", "status"},
		{"failover", "cell-1", "--dry-run"}, {"init", "--dry-run"},
	} {
		asked.Go(func() {
			var errOut bytes.Buffer
			flags := genericclioptions.NewConfigFlags(true)
			*flags.KubeConfig, *flags.CacheDir = kubeconfig, filepath.Join(filepath.Dir(kubeconfig), "cache")
			env := &command.Env{
				IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: &errOut}, Flags: flags,
				Clock: clocktesting.NewFakePassiveClock(scriptTime()), Getenv: func(string) string { return "" }, Program: "kubectl cell",
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			code := cli.Run(ctx, env, append([]string{"kubectl-cell"}, args...))
			took := time.Since(began)
			if code != exit.Failure || took > within || !strings.Contains(errOut.String(), why) {
				t.Errorf("%s: code %d after %s: %s\nwant %d within %s with %q", strings.Join(args, " "), code, took, errOut.String(), exit.Failure, within, why)
			}
		})
	}
	asked.Wait()
}
