package completion

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
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
	dir    string
	dryRun bool
}

func newInstallCommand(env *command.Env) *cobra.Command {
	o := &installOptions{env: env}
	plugin, file := env.Plugin(), env.PluginFile()
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Let kubectl complete `" + plugin + "`",
		Long: "Let kubectl complete `" + plugin + "`: put the program " + env.CompletionFile() + ", which kubectl asks, beside\n" +
			file + " or into another folder of your PATH. It changes no other file.",
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
	if o.dir != "" {
		info, err := os.Stat(o.dir)
		if err != nil || !info.IsDir() {
			return exit.Usagef("--dir %s: no such folder", o.dir).WithHint("mkdir -p %s", o.dir)
		}
		return nil
	}
	for _, dir := range o.candidates() {
		if writable(dir) {
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
	if err := replace(path, []byte(script)); err != nil {
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

// replace writes an executable file whole or not at all.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o755), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
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

func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".kubectl_complete-*")
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) == nil
}
