package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
)

type versions struct {
	Kubernetes string `json:"kubernetes"`
	Build      string `json:"build"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
}

func newVersion(p Process) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of Kubernetes and of this build",
		Args:  cobra.NoArgs,
		RunE: running(func(context.Context) error {
			kubernetes := version.Get()
			v := versions{
				Kubernetes: kubernetes.GitVersion, Build: p.Version,
				Go: kubernetes.GoVersion, Platform: kubernetes.Platform,
			}
			switch output {
			case "":
				_, err := fmt.Fprintf(p.Stdout, "kubernetes %s\nbuild      %s\ngo         %s\nplatform   %s\n",
					v.Kubernetes, v.Build, v.Go, v.Platform)
				return err
			case "json":
				encoder := json.NewEncoder(p.Stdout)
				encoder.SetIndent("", "  ")
				return encoder.Encode(v)
			default:
				return usage(fmt.Errorf("-o %q is not known: allowed is json", output))
			}
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json for machines, nothing for people")
	return cmd
}
