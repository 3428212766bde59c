package command

import (
	"path/filepath"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

const (
	// pluginPrefix is what the names of plugins begin with, completionPrefix those of the programs that kubectl asks to
	// complete a plugin's command line.
	pluginPrefix, completionPrefix = "kubectl-", "kubectl_complete-"
	// typedPrefix is what people type before the name of a plugin.
	typedPrefix = "kubectl "
)

// ProgramName is what the user typed to get to a program of the name argv0: kubectl looks for "kubectl-cell" when
// somebody types "kubectl cell", for "kubectl-kube_cell" after "kubectl kube-cell". An index of plugins may install this
// one under another name. Anything but a plugin is typed as it is called.
func ProgramName(argv0 string) string {
	name := baseName(argv0)
	for _, prefix := range []string{pluginPrefix, completionPrefix} {
		if plugin, ok := strings.CutPrefix(name, prefix); ok {
			return typedPrefix + strings.ReplaceAll(strings.ReplaceAll(plugin, "-", " "), "_", "-")
		}
	}
	return name
}

// Completes says whether a program of the name argv0 is one that kubectl asks to complete a plugin's command line.
func Completes(argv0 string) bool { return strings.HasPrefix(baseName(argv0), completionPrefix) }

func baseName(argv0 string) string { return strings.TrimSuffix(filepath.Base(argv0), ".exe") }

// Plugin is what people type to get here by way of kubectl: Program, without flags, unless that is called directly.
func (e *Env) Plugin() string {
	if name := e.name(); strings.HasPrefix(name, typedPrefix) {
		return name
	}
	return exit.Plugin
}

// PluginFile is the name of the program that kubectl finds for [Env.Plugin]: the inverse of [ProgramName].
func (e *Env) PluginFile() string { return pluginPrefix + e.pluginName() }

// CompletionFile is the name of the program that kubectl asks to complete the command line of [Env.Plugin].
func (e *Env) CompletionFile() string { return completionPrefix + e.pluginName() }

func (e *Env) pluginName() string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(e.Plugin(), typedPrefix), "-", "_"), " ", "-")
}
