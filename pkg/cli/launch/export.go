package launch

import (
	"github.com/spf13/cobra"
)

func newExport(p Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print what starts the " + p.Noun + " for good: a systemd unit or a Deployment",
		Long: "Print what starts the " + p.Noun + " for good, so that it comes back after a crash or a reboot: a systemd unit\n" +
			"for a machine, or the manifests of a Deployment for a cluster. Nothing is installed.",
		Example: p.example("A unit for this machine", "export systemd "+p.Required) + "\n\n" +
			p.example("Two replicas in the router control plane", "export deployment --image registry.example/kubectl-cell:v1"),
	}
	cmd.AddCommand(newExportSystemd(p), newExportDeployment(p))
	return cmd
}
