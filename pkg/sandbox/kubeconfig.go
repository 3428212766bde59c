package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// kubeconfigRecord remembers which files contexts were written to, so that they are removed from
// there whatever KUBECONFIG says later.
type kubeconfigRecord struct {
	// Files are the user's kubeconfig files in order of precedence; empty: nothing was written.
	Files []string `json:"files,omitempty"`
	// Created are those of them that did not exist before.
	Created []string `json:"created,omitempty"`
	// Previous are the contexts that were current before, the best candidate first. There are
	// several when the first of them belongs to another sandbox, which may go away earlier.
	Previous []string `json:"previous,omitempty"`
	// Contexts are the entries that belong to this sandbox.
	Contexts []string `json:"contexts,omitempty"`
}

// KubeconfigFiles are the files that hold the user's kubeconfig: explicit if given, else those in
// KUBECONFIG, else ~/.kube/config.
func KubeconfigFiles(explicit string, getenv func(string) string) ([]string, error) {
	var files []string
	switch {
	case explicit != "":
		files = []string{explicit}
	case getenv(clientcmd.RecommendedConfigPathEnvVar) != "":
		files = filepath.SplitList(getenv(clientcmd.RecommendedConfigPathEnvVar))
	case getenv("HOME") != "":
		files = []string{filepath.Join(getenv("HOME"), clientcmd.RecommendedHomeDir, clientcmd.RecommendedFileName)}
	}
	files = slices.DeleteFunc(files, func(f string) bool { return f == "" })
	if len(files) == 0 {
		return nil, exit.Errorf(exit.Failure, "no kubeconfig to write contexts to: HOME is not set").
			WithHint("kubectl cell sandbox up --kubeconfig FILE")
	}
	for i, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("resolve %s: %w", file, err)
		}
		files[i] = abs
	}
	return files, nil
}

// kubeconfigAccess implements clientcmd.ConfigAccess for given files, without a look at the
// process's environment.
type kubeconfigAccess []string

func (a kubeconfigAccess) GetLoadingPrecedence() []string { return a }

func (a kubeconfigAccess) GetStartingConfig() (*clientcmdapi.Config, error) {
	rules := clientcmd.ClientConfigLoadingRules{Precedence: a, DoNotResolvePaths: true}
	config, err := rules.Load()
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, fs.ErrNotExist) {
		return clientcmdapi.NewConfig(), nil
	}
	return config, err
}

// GetDefaultFilename is the file that new entries go to: the last one that exists, as with kubectl.
func (a kubeconfigAccess) GetDefaultFilename() string {
	for _, file := range slices.Backward(a) {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return a[len(a)-1]
}

func (a kubeconfigAccess) IsExplicitFile() bool    { return len(a) == 1 }
func (a kubeconfigAccess) GetExplicitFile() string { return a[0] }

// entry is what one context is made of.
type entry struct {
	server      string
	ca          []byte
	credentials credentials
}

// writeContexts puts the entries into the user's kubeconfig and makes current the current context.
// Entries of other owners under the same names are refused; see foreignContexts.
func (b *box) writeContexts(entries map[string]entry, current string) error {
	access := kubeconfigAccess(b.Kubeconfig.Files)
	config, err := access.GetStartingConfig()
	if err != nil {
		return unreadable(access, err)
	}
	for name, e := range entries {
		config.Clusters[name] = origin(config.Clusters[name], &clientcmdapi.Cluster{
			Server: e.server, CertificateAuthorityData: e.ca,
		})
		config.AuthInfos[name] = origin(config.AuthInfos[name], &clientcmdapi.AuthInfo{
			ClientCertificateData: e.credentials.cert, ClientKeyData: e.credentials.key,
		})
		context := &clientcmdapi.Context{Cluster: name, AuthInfo: name}
		if had := config.Contexts[name]; had != nil {
			context.Namespace = had.Namespace // the user may have chosen one
		}
		config.Contexts[name] = origin(config.Contexts[name], context)
	}
	if current != "" {
		config.CurrentContext = current
	}
	if err := clientcmd.ModifyConfig(access, *config, false); err != nil {
		return unwritable(access, err)
	}
	return nil
}

// located is any entry of a kubeconfig.
type located interface {
	*clientcmdapi.Cluster | *clientcmdapi.AuthInfo | *clientcmdapi.Context
}

// origin keeps an entry that is replaced in the file where it was.
func origin[T located](had, now T) T {
	switch now := any(now).(type) {
	case *clientcmdapi.Cluster:
		if had := any(had).(*clientcmdapi.Cluster); had != nil {
			now.LocationOfOrigin = had.LocationOfOrigin
		}
	case *clientcmdapi.AuthInfo:
		if had := any(had).(*clientcmdapi.AuthInfo); had != nil {
			now.LocationOfOrigin = had.LocationOfOrigin
		}
	case *clientcmdapi.Context:
		if had := any(had).(*clientcmdapi.Context); had != nil {
			now.LocationOfOrigin = had.LocationOfOrigin
		}
	}
	return now
}

// removeContexts takes the named entries out, and gives the current context back to whom it belonged
// if it is one of them. Files that are empty then and did not exist before are removed.
func (b *box) removeContexts(names []string) error {
	if len(b.Kubeconfig.Files) == 0 || len(names) == 0 {
		return nil
	}
	access := kubeconfigAccess(b.Kubeconfig.Files)
	config, err := access.GetStartingConfig()
	if err != nil {
		return unreadable(access, err)
	}
	for _, name := range names {
		delete(config.Clusters, name)
		delete(config.AuthInfos, name)
		delete(config.Contexts, name)
	}
	if slices.Contains(names, config.CurrentContext) {
		config.CurrentContext = ""
		for _, previous := range b.Kubeconfig.Previous {
			if config.Contexts[previous] != nil {
				config.CurrentContext = previous
				break
			}
		}
	}
	if err := clientcmd.ModifyConfig(access, *config, false); err != nil {
		return unwritable(access, err)
	}
	for _, file := range b.Kubeconfig.Created {
		left, err := clientcmd.LoadFromFile(file)
		if err != nil || len(left.Clusters)+len(left.AuthInfos)+len(left.Contexts) > 0 {
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(access, err)
		}
	}
	return nil
}

func unreadable(files []string, err error) error {
	return exit.Errorf(exit.Failure, "read kubeconfig %v: %w", files, err).
		WithHint("kubectl config view   # or choose another file with --kubeconfig")
}

func unwritable(files []string, err error) error {
	return exit.Errorf(exit.Failure, "write kubeconfig %v: %w", files, err).
		WithHint("check that you may write there and that no %s.lock was left behind ; or choose another file with --kubeconfig", files[len(files)-1])
}
