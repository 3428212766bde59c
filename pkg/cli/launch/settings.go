package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// FlagsFile below the state directory says with which flags the daemon was last started.
const FlagsFile = "flags.json"

// verbosity is the one flag of all commands that means something to a daemon.
const verbosity = "v"

// settings are the flags of `run` that were given, by name.
type settings map[string]string

// given are the flags of `run` that were set in a set that may hold others, with absolute paths.
func (p Program) given(flags *pflag.FlagSet) (settings, error) {
	known := pflag.NewFlagSet("run", pflag.ContinueOnError)
	p.Flags(known)
	out := settings{}
	var failed error
	flags.Visit(func(f *pflag.Flag) {
		if known.Lookup(f.Name) == nil && f.Name != verbosity {
			return
		}
		value, err := p.absolute(f.Name, text(f.Value))
		out[f.Name], failed = value, errors.Join(failed, err)
	})
	return out, failed
}

// text is the value as it can be given again.
func text(value pflag.Value) string {
	if list, ok := value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	return value.String()
}

func (p Program) absolute(name, value string) (string, error) {
	isPath := slices.Contains(p.Paths, name) || slices.Contains(command.PathFlags(), name)
	if !isPath || value == "" || value == "-" { // which stands for standard output
		return value, nil
	}
	path, err := filepath.Abs(value)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", name, err)
	}
	return path, nil
}

// arguments are the settings as words of a command line, always in the same order.
func (s settings) arguments() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		out = append(out, "--"+name+"="+s[name])
	}
	return out
}

// apply sets what was not given. A flag that this version does not know any more is an error.
func (s settings) apply(flags *pflag.FlagSet) error {
	for name, value := range s {
		if flags.Changed(name) {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("flag of the last start: %w", err)
		}
	}
	return nil
}

// recorded is the content of FlagsFile.
type recorded struct {
	Flags settings `json:"flags"`
}

// readSettings returns nil where nothing was started in dir yet.
func readSettings(dir string) (settings, error) {
	path := filepath.Join(dir, FlagsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, command.Unusable(dir, err)
	}
	var r recorded
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, exit.Errorf(exit.Failure, "%s is damaged: %w", path, err).WithHint("rm %s, and give all flags", path)
	}
	return r.Flags, nil
}

// write keeps the settings for a restart. The old ones stay whole where that fails.
func (s settings) write(dir string) error {
	data, err := json.MarshalIndent(recorded{Flags: s}, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the flags: %w", err)
	}
	if err := atomicfile.WriteBytes(filepath.Join(dir, FlagsFile), 0o600, append(data, '\n')); err != nil {
		return command.Unusable(dir, err)
	}
	return nil
}
