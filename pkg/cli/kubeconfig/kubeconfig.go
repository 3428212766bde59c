// Package kubeconfig reads the kubeconfig of a cell from a file, in the form in which it can be
// stored: one context, with certificates and keys in place of the names of files.
package kubeconfig

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Read returns the kubeconfig in the file, cut down to one context: the named one, or the current
// one where context is empty. Its errors are usage errors.
func Read(path, context string) ([]byte, error) {
	config, err := clientcmd.LoadFromFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, exit.Usagef("kubeconfig %s: no such file", path).WithHint("ls %s*", path)
	case err != nil:
		return nil, exit.Usagef("kubeconfig %s: %w", path, oneLine(err)).
			WithHint("kubectl --kubeconfig %s config view", path)
	}
	if context != "" {
		config.CurrentContext = context
	}
	if err := checkContext(config, path); err != nil {
		return nil, err
	}
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return nil, exit.Usagef("kubeconfig %s: %w", path, err).WithHint("kubectl --kubeconfig %s config get-contexts", path)
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, exit.Usagef("kubeconfig %s: %w", path, err)
	}
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return nil, exit.Usagef("kubeconfig %s: %w", path, err).WithHint("kubectl --kubeconfig %s version", path)
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, exit.Usagef("kubeconfig %s: %w", path, err)
	}
	return data, selfContained(path, data)
}

func checkContext(config *clientcmdapi.Config, path string) error {
	if config.Contexts[config.CurrentContext] != nil {
		return nil
	}
	known := slices.Sorted(maps.Keys(config.Contexts))
	switch {
	case len(known) == 0:
		return exit.Usagef("kubeconfig %s: there is no context in it", path).
			WithHint("kubectl --kubeconfig %s config get-contexts", path)
	case config.CurrentContext == "":
		return exit.Usagef("kubeconfig %s: it has no current context; it has %s", path, strings.Join(known, ", ")).
			WithHint("add --cell-context %s", known[0])
	}
	return exit.Usagef("kubeconfig %s: there is no context %q; it has %s", path, config.CurrentContext, strings.Join(known, ", ")).
		WithHint("add --cell-context %s", known[0])
}

// selfContained refuses what cannot be flattened. A credential program runs on the machine of a
// person; routers have neither the program nor the person.
func selfContained(path string, data []byte) error {
	_, err := cells.ParseKubeconfig(data)
	switch {
	case errors.Is(err, cells.ErrUnsafeKubeconfig):
		return exit.Usagef("kubeconfig %s: %w", path, err).
			WithHint("routers cannot run programs of this machine; use a client certificate or a token: kubectl --kubeconfig %s -n kube-system create token SERVICEACCOUNT", path)
	case err != nil:
		return exit.Usagef("kubeconfig %s: %w", path, err).WithHint("kubectl --kubeconfig %s config view --minify", path)
	}
	return nil
}

// oneLine keeps the parser from quoting half a file.
func oneLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(printers.ClipTo(line, 200))
}
