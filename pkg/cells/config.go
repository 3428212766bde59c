// Package cells connects to cells: it turns a Cell object and its kubeconfig Secret into a client
// configuration.
//
// A kubeconfig that comes out of a Secret is data from the network. It may carry certificates, keys
// and tokens, but nothing that would make this process run a program or read its own files: such a
// kubeconfig is refused.
package cells

import (
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// ErrUnsafeKubeconfig is returned for a kubeconfig that refers to programs or files of the machine
// it is read on. The caller must not use any part of it.
var ErrUnsafeKubeconfig = errors.New("kubeconfig must be self-contained")

// Config returns the client configuration for cell, whose Secret holds kubeconfig. It makes no request.
//
// Where the Cell lists endpoints, clients send a request to the next of them when one refuses it, or is silent and gives
// no sign of life either; see [NoAnswerError] for what becomes of a write that one had taken.
func Config(cell *v1alpha1.Cell, kubeconfig []byte) (*rest.Config, error) {
	config, _, err := Ways(cell, kubeconfig)
	return config, err
}

// Ways returns what [Config] does, and beside it a client configuration for each endpoint of the cell by itself: its
// apiservers learn of a changed policy one by one. Of a Cell that lists none that is the one of the kubeconfig.
func Ways(cell *v1alpha1.Cell, kubeconfig []byte) (config *rest.Config, endpoints []*rest.Config, err error) {
	if config, err = Credentials(cell, kubeconfig); err != nil {
		return nil, nil, err
	}
	if len(cell.Spec.Endpoints) == 0 {
		return config, []*rest.Config{rest.CopyConfig(config)}, nil
	}
	for _, endpoint := range cell.Spec.Endpoints {
		one := rest.CopyConfig(config)
		one.Host = endpoint
		endpoints = append(endpoints, one)
	}
	if err := useAll(config, cell.Spec.Endpoints); err != nil {
		return nil, nil, fmt.Errorf("cell %s: %w", cell.Name, err)
	}
	return config, endpoints, nil
}

// Credentials is Config for those who choose among the Cell's endpoints themselves: its host is that of the kubeconfig.
func Credentials(cell *v1alpha1.Cell, kubeconfig []byte) (*rest.Config, error) {
	if len(kubeconfig) == 0 {
		return nil, fmt.Errorf("cell %s: Secret %s/%s holds no kubeconfig", cell.Name, v1alpha1.Namespace, cell.Spec.KubeconfigSecretRef.Name)
	}
	config, err := ParseKubeconfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of cell %s: %w", cell.Name, err)
	}
	return config, nil
}

// ParseKubeconfig returns the client configuration of the current context of a self-contained
// kubeconfig. The error wraps [ErrUnsafeKubeconfig] where it is not self-contained.
func ParseKubeconfig(data []byte) (*rest.Config, error) {
	raw, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("parse kubeconfig: %w", err)
	}
	if err := selfContained(raw); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig: %w", err)
	}
	return config, nil
}

// selfContained looks at every entry, used or not: an unused one today is one edit of
// current-context away from being used.
func selfContained(raw *clientcmdapi.Config) error {
	for name, user := range raw.AuthInfos {
		switch {
		case user.Exec != nil:
			return fmt.Errorf("user %q runs a program (exec): %w", name, ErrUnsafeKubeconfig)
		case user.AuthProvider != nil:
			return fmt.Errorf("user %q uses an auth provider: %w", name, ErrUnsafeKubeconfig)
		case user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "":
			return fmt.Errorf("user %q names files instead of carrying their content: %w", name, ErrUnsafeKubeconfig)
		}
	}
	for name, cluster := range raw.Clusters {
		if cluster.CertificateAuthority != "" {
			return fmt.Errorf("cluster %q names a file instead of carrying its content: %w", name, ErrUnsafeKubeconfig)
		}
	}
	return nil
}
