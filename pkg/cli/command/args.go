package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// TheCell is what most commands want: see [Args].
const TheCell = "the name of a CELL"

// Args wants exactly these arguments, given in words such as [TheCell]. What is missing is named, with the usage as the
// hint; an empty one, as a shell makes of a variable that is not set, is missing as well.
func Args(wanted ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var missing []string
		for i, what := range wanted {
			if i >= len(args) || args[i] == "" {
				missing = append(missing, what)
			}
		}
		if len(missing) > 0 {
			path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().CommandPath()+" ")
			return exit.Usagef("%s needs %s", path, strings.Join(missing, " and ")).WithHint("%s", cmd.UseLine())
		}
		return noMore(cmd, args, len(wanted))
	}
}

// OptionalArg wants one argument or none.
func OptionalArg(cmd *cobra.Command, args []string) error { return noMore(cmd, args, 1) }

func noMore(cmd *cobra.Command, args []string, most int) error {
	if len(args) > most {
		return fmt.Errorf("unexpected argument %q for %q", args[most], cmd.CommandPath())
	}
	return nil
}
