package command

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/controlplane"
)

type runOptions struct {
	dir, name, bind string
	port            int
	auditLog        string
	verbosity       int
}

func newRun(p Process) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --dir DIR --name NAME",
		Short: "Run a control plane in the foreground",
		Long: `Run a control plane in the foreground: etcd and kube-apiserver in this process, the controllers in a
second one that lives and dies with it.

Everything is kept below DIR and used again by the next run: data, CA, certificates, port. Once the
control plane works, one line "ready https://…" goes to standard output; the log goes to standard error.
DIR/kubeconfig/admin.conf is the administrator's access.

The first SIGTERM or SIGINT stops it in order, the second one at once.

Exit codes: 0 stopped on request, 1 failed, 2 command line not understood, 4 DIR is in use.`,
		Example: "  cell-controlplane run --dir ./cell-1 --name cell-1",
		Args:    cobra.NoArgs,
		RunE: running(func(ctx context.Context) error {
			config, err := o.config()
			if err != nil {
				return usage(err)
			}
			config.Version, config.Stdout, config.Stderr = p.Version, p.Stdout, p.Stderr
			return controlplane.Run(ctx, config)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "directory that holds everything of this control plane (required)")
	f.StringVar(&o.name, "name", "", "name of the control plane, a DNS label; also of its kubeconfig context (required)")
	f.StringVar(&o.bind, "bind", "127.0.0.1", "IP address on which the apiserver listens")
	f.IntVar(&o.port, "port", 0, "port of the apiserver; 0: the one of the last run, or a free one")
	f.StringVar(&o.auditLog, "audit-log", "", `file for an audit log of all requests without their content, "-" for standard output`)
	verbosityFlag(cmd, &o.verbosity)
	return cmd
}

func (o runOptions) config() (controlplane.Config, error) {
	if o.dir == "" {
		return controlplane.Config{}, fmt.Errorf("--dir is missing")
	}
	if o.name == "" {
		return controlplane.Config{}, fmt.Errorf("--name is missing")
	}
	if problems := validation.IsDNS1123Label(o.name); len(problems) > 0 {
		return controlplane.Config{}, fmt.Errorf("--name %q is not a DNS label: %s", o.name, strings.Join(problems, "; "))
	}
	if o.port < 0 || o.port > 65535 {
		return controlplane.Config{}, fmt.Errorf("--port %d is not a port: allowed are 0 to 65535", o.port)
	}
	bind := net.ParseIP(o.bind)
	if bind == nil {
		return controlplane.Config{}, fmt.Errorf("--bind %q is not an IP address", o.bind)
	}
	if o.verbosity < 0 {
		return controlplane.Config{}, fmt.Errorf("-v %d is negative", o.verbosity)
	}
	return controlplane.Config{
		Dir: o.dir, Name: o.name, Bind: bind, Port: o.port,
		AuditLog: o.auditLog, Verbosity: o.verbosity,
	}, nil
}

func verbosityFlag(cmd *cobra.Command, value *int) {
	cmd.Flags().IntVarP(value, "v", "v", 0, "how much is logged: 0 little, 4 much, 8 with the content of requests")
}
