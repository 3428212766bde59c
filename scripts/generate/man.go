package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/kubecell/kubectl-cell/pkg/cli"
)

// writeManPages writes a compressed manual page of each command below root into a folder, which it makes. They are
// made for a release and not kept: what they say is in docs/cli. The environment variable SOURCE_DATE_EPOCH is their date.
func writeManPages(root *cobra.Command, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var write func(cmd *cobra.Command) error
	write = func(cmd *cobra.Command) error {
		page, err := manPage(cmd)
		if err != nil {
			return fmt.Errorf("manual page of %s: %w", cmd.CommandPath(), err)
		}
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1.gz"
		if err := os.WriteFile(filepath.Join(folder, name), page, 0o600); err != nil {
			return err
		}
		for _, child := range cmd.Commands() {
			if !child.IsAvailableCommand() {
				continue
			}
			if err := write(child); err != nil {
				return err
			}
		}
		return nil
	}
	return write(root)
}

// manPage is the page of one command, with its exit codes after the description.
func manPage(cmd *cobra.Command) ([]byte, error) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += "\n\n# EXIT STATUS\n"
	codes, _ := cli.ExitCodes(cli.PathOf(cmd))
	for _, c := range codes {
		cmd.Long += fmt.Sprintf("\n**%d** %s\n", c.Code, c.When)
	}
	cmd.DisableAutoGenTag = true
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	header := doc.GenManHeader{Section: "1", Source: "kubectl-cell", Manual: "kubectl-cell"}
	if err := doc.GenMan(cmd, &header, zipped); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
