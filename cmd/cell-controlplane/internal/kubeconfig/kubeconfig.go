// Package kubeconfig writes the kubeconfigs of a control plane: one cluster, one user with a client
// certificate, one context, all embedded, so that the file can be copied anywhere.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// Access is what a client needs to reach the apiserver.
type Access struct {
	Name   string // of cluster, user and context
	Server string // URL
	CA     []byte // PEM
	Cert   []byte // PEM
	Key    []byte // PEM
}

// Write replaces the kubeconfig at path. The file is readable by its owner only.
func Write(path string, a Access) error {
	config := clientcmdapi.NewConfig()
	config.Clusters[a.Name] = &clientcmdapi.Cluster{Server: a.Server, CertificateAuthorityData: a.CA}
	config.AuthInfos[a.Name] = &clientcmdapi.AuthInfo{ClientCertificateData: a.Cert, ClientKeyData: a.Key}
	config.Contexts[a.Name] = &clientcmdapi.Context{Cluster: a.Name, AuthInfo: a.Name}
	config.CurrentContext = a.Name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encoding kubeconfig: %w", err)
	}
	return layout.WriteFile(path, data, 0o600)
}
