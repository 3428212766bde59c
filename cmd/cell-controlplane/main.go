// Command cell-controlplane is a complete Kubernetes control plane without nodes: etcd, kube-apiserver
// and the controllers that such a control plane needs, as one binary that needs no root, no container
// engine and no network. Sandboxes and tests run cells and the router control plane with it.
//
// This file owns the process: signals, streams and the exit code. Start reading at package controlplane.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/command"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

// version is set by the linker, see build.sh.
var version = "unknown"

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		// Who asks twice does not want to wait for order. The child ends with its parent.
		<-signals
		os.Exit(fault.Failed)
	}()
	process := command.Process{Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	err := command.Execute(ctx, process, os.Args[1:])
	if err != nil {
		fault.Print(os.Stderr, err)
	}
	os.Exit(fault.Code(err))
}
