package cli_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// newRoot is the root command without streams, server or environment.
func newRoot() *cobra.Command {
	return cli.NewCommand(&command.Env{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard},
		Flags:     genericclioptions.NewConfigFlags(true),
		Clock:     &clocktesting.FakePassiveClock{},
		Getenv:    func(string) string { return "" },
		Program:   "kubectl cell",
	})
}

// Every command says what it does, shows how, and documents how it ends.
func TestEveryCommandIsDocumented(t *testing.T) {
	var walk func(cmd *cobra.Command)
	seen := 0
	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			walk(child)
		}
		path := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "kubectl cell"), " ")
		t.Run("/"+path, func(t *testing.T) {
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("Short = %q; want one sentence without a full stop", cmd.Short)
			}
			if !strings.Contains(cmd.Example, "kubectl") {
				t.Errorf("Example = %q; want a command line", cmd.Example)
			}
			for line := range strings.Lines(cmd.Long) {
				if len([]rune(line)) > 110 {
					t.Errorf("Long has a line of %d characters: %s", len([]rune(line)), line)
				}
			}
			help := helpOf(t, cmd)
			if !strings.HasPrefix(help, cmd.Short+".") {
				t.Errorf("--help does not begin with %q:\n%s", cmd.Short, help)
			}
			for _, heading := range []string{"Usage:", "Examples:", "Exit codes:"} {
				if strings.Count(help, "\n"+heading+"\n") != 1 {
					t.Errorf("--help has no part %q:\n%s", heading, help)
				}
			}
			cmd.Flags().VisitAll(func(f *pflag.Flag) {
				if first, _ := utf8.DecodeRuneInString(f.Usage); !unicode.IsUpper(first) && f.Name != "help" { // which is cobra's
					t.Errorf("--%s: %q does not begin with a capital letter", f.Name, f.Usage)
				}
			})
			codes, known := cli.ExitCodes(path)
			for _, c := range codes {
				if line := fmt.Sprintf("\n  %-3d %s\n", c.Code, c.When); !strings.Contains(help, line) {
					t.Errorf("--help does not say that it may end with%s", line)
				}
			}
			if cmd.HasSubCommands() {
				return
			}
			seen++
			if !known {
				t.Errorf("pkg/cli/exits.go does not say how %q ends", path)
			}
			if cmd.Args == nil && cmd.Use == strings.ToLower(cmd.Use) {
				t.Errorf("Args is nil: words that are not expected would be ignored")
			}
		})
	}
	walk(newRoot())
	if seen < 10 {
		t.Errorf("found %d commands", seen)
	}
}

// helpOf is what cmd --help prints.
func helpOf(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var out strings.Builder
	cmd.SetOut(&out)
	if err := cmd.Help(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
