package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/child"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/controllers"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/pki"
)

func newControllers(p Process) *cobra.Command {
	var dir string
	var verbosity int
	cmd := &cobra.Command{
		Use:    "controllers --dir DIR",
		Short:  "The second process of run; it is started by it and not by hand",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: running(func(ctx context.Context) error {
			return runControllers(ctx, p, layout.Dir(dir), verbosity)
		}),
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory of the control plane")
	verbosityFlag(cmd, &verbosity)
	return cmd
}

func runControllers(ctx context.Context, p Process, dir layout.Dir, verbosity int) error {
	ctx, ok := child.Hold(ctx, p.Stdin)
	if !ok {
		return nil
	}
	options := logs.NewOptions()
	options.Verbosity = logsapi.VerbosityLevel(verbosity)
	if err := logsapi.ValidateAndApply(options, nil); err != nil {
		return fmt.Errorf("configuring logs: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig(pki.ControllerManager))
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	// The apiserver's priority and fairness protects it better than a limit here would.
	config.QPS, config.Burst = 100, 200
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	ctx = klog.NewContext(ctx, klog.Background())
	return controllers.Run(ctx, dir, config, func() error { return child.Announce(p.Stdout) })
}
