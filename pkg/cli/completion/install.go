package completion

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Script is the content of the file that kubectl runs to complete the command line of the plugin.
func Script(env *command.Env) string {
	return "#!/bin/sh\n" +
		"# kubectl runs this to complete \"" + env.Plugin() + "\". Written by: " + env.Plugin() + " completion install\n" +
		"exec " + call(env) + " \"$@\"\n"
}

// call is how that file has the plugin complete.
func call(env *command.Env) string { return env.PluginFile() + " __complete" }

type installOptions struct {
	env    *command.Env
	system string // as in GOOS
	dir    string
	dryRun bool
}

func newInstallCommand(env *command.Env) *cobra.Command {
	o := &installOptions{env: env, system: runtime.GOOS}
	plugin, file := env.Plugin(), env.PluginFile()
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Let kubectl complete `" + plugin + "`",
		Long: "Let kubectl complete `" + plugin + "`: put the program " + env.CompletionFile() + ", which kubectl asks, beside\n" +
			file + " or into another folder of your PATH. It changes no other file. Not on Windows: the program is a\n" +
			"script of sh.",
		Example: "  # Beside " + file + "\n  " + env.Program + " completion install\n\n" +
			"  # Elsewhere\n  " + env.Program + " completion install --dir ~/.local/bin",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	cmd.Flags().StringVar(&o.dir, "dir", "", "Folder to install to; by default the one of "+file+", or another of your PATH that can be written")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "Say what would be done and do nothing")
	return cmd
}

// Complete chooses the folder.
func (o *installOptions) Complete([]string) error {
	if o.system == "windows" {
		return exit.Refusedf("on Windows kubectl cannot complete `%s`: what it asks is a script of sh", o.env.Plugin()).
			WithHint("%s   # completes `%s`, which is the same", powershell(o.env.PluginFile()), o.env.PluginFile())
	}
	if o.dir != "" {
		info, err := os.Stat(o.dir)
		if err != nil || !info.IsDir() {
			return exit.Flagf("dir", printers.Clip(o.dir), "be a folder that is there").WithHint("mkdir -p %s", o.dir)
		}
		return nil
	}
	for _, dir := range o.candidates() {
		if atomicfile.Try(dir) == nil {
			o.dir = dir
			return nil
		}
	}
	return exit.Errorf(exit.Failure, "no folder of your PATH can be written").
		WithHint("%s completion install --dir DIR", o.env.Program)
}

// Run writes the file. A file of the same content is left, one that is not ours is not touched.
func (o *installOptions) Run(context.Context) error {
	name, script := o.env.CompletionFile(), Script(o.env)
	path := filepath.Join(o.dir, name)
	old, err := os.ReadFile(path)
	switch {
	case err == nil && string(old) == script:
		fmt.Fprintf(o.env.Out, "already installed: %s\n", path)
		return nil
	case err == nil && !strings.Contains(string(old), call(o.env)):
		return exit.Refusedf("%s exists and is not from %s", path, o.env.PluginFile()).
			WithHint("look at it; to replace it: rm %s && %s completion install", path, o.env.Program)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for %s: %w", name, err)
	}
	if o.dryRun {
		fmt.Fprintf(o.env.Out, "would write %s (dry run)\n", path)
		return nil
	}
	if err := atomicfile.WriteBytes(path, 0o755, []byte(script)); err != nil {
		return exit.Errorf(exit.Failure, "install %s: %w", name, err).
			WithHint("%s completion install --dir DIR, a folder of your PATH with room that you may write to", o.env.Program)
	}
	fmt.Fprintf(o.env.Out, "installed %s\n", path)
	if !slices.Contains(o.path(), filepath.Clean(o.dir)) {
		o.env.Warn("%s is not in your PATH: kubectl will not find it there", o.dir)
	}
	fmt.Fprintf(o.env.ErrOut, "try: %s <TAB> (kubectl's own completion must be loaded: kubectl completion --help)\nundo: rm %s\n",
		o.env.Plugin(), path)
	return nil
}

// path is the folders of PATH.
func (o *installOptions) path() []string {
	var out []string
	for _, dir := range filepath.SplitList(o.env.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			out = append(out, filepath.Clean(dir))
		}
	}
	return out
}

// candidates are the folders of PATH that hold the plugin, then those below the home folder.
func (o *installOptions) candidates() []string {
	var beside, own []string
	home := o.env.Getenv("HOME")
	for _, dir := range o.path() {
		if info, err := os.Stat(filepath.Join(dir, o.env.PluginFile())); err == nil && !info.IsDir() {
			beside = append(beside, dir)
		} else if home != "" && strings.HasPrefix(dir, filepath.Clean(home)+string(filepath.Separator)) {
			own = append(own, dir)
		}
	}
	return append(beside, own...)
}
