// Package version is the command `version`: which build this is, and what the server runs.
package version

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

// Versions is the data of `version -o json`.
type Versions struct {
	Client version.Info `json:"client"`
	// Server is absent with --client, and where no server answered.
	Server *Server `json:"server,omitempty"`
}

// Server is what a router or a router control plane says about itself.
type Server struct {
	Address string `json:"address"`
	// Kubernetes is the version that it answers with at /version, such as "v1.36.3".
	Kubernetes string `json:"kubernetes"`
	Epoch      int64  `json:"epoch"`
	Phase      string `json:"phase"`
}

type options struct {
	env        *command.Env
	clientOnly bool
	output     printers.Output
	printer    *printers.Printer
}

// NewCommand returns `version`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of client and server, and the ring's epoch",
		Example: "  # This program and the server\n  " + env.Program + " version\n\n" +
			"  # This program alone, without asking a server\n  " + env.Program + " version --client -o json",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	cmd.Flags().BoolVar(&o.clientOnly, "client", false, "Print the version of this program and ask no server")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the format.
func (o *options) Complete([]string) (err error) {
	o.printer, err = o.output.Printer()
	return err
}

// Run prints what is known about the client even where the server does not answer.
func (o *options) Run(ctx context.Context) error {
	versions := Versions{Client: version.Get()}
	var serverErr error
	if !o.clientOnly {
		versions.Server, serverErr = o.server(ctx)
	}
	var epoch int64
	var warnings []string
	if versions.Server != nil {
		epoch = versions.Server.Epoch
	}
	if serverErr != nil {
		warnings = append(warnings, serverErr.Error())
	}
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Versions", epoch, versions, warnings...),
		Names:    func() []string { return []string{versions.Client.Version} },
		Text:     versions.print,
	})
	if err != nil {
		return err
	}
	return serverErr
}

func (o *options) server(ctx context.Context) (*Server, error) {
	federation, err := o.env.Connect()
	if err != nil {
		return nil, err
	}
	found, err := ring.Read(ctx, o.env, federation)
	if err != nil {
		return nil, err
	}
	kubernetes, err := federation.Kube.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("read version of %s: %w", federation.Config.Host, err)
	}
	return &Server{
		Address: federation.Config.Host, Kubernetes: kubernetes.GitVersion,
		Epoch: found.Status.Epoch, Phase: string(found.Status.Phase),
	}, nil
}

func (v Versions) print(w io.Writer, layout printers.Layout) error {
	if _, err := fmt.Fprintf(w, "client: %s (%s, %s)\n", v.Client.Version, v.Client.GoVersion, v.Client.Platform); err != nil {
		return err
	}
	if layout.Wide && v.Client.Commit != "" {
		fmt.Fprintf(w, "commit: %s %s\n", v.Client.Commit, v.Client.Date)
	}
	if v.Server == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "server: %s (%s)\nring:   epoch %d, %s\n",
		v.Server.Kubernetes, v.Server.Address, v.Server.Epoch, v.Server.Phase)
	return err
}
