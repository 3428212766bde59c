package sandbox

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// controlPlane is the RCP or a cell of the sandbox.
func (b *box) controlPlane(part string) ControlPlane {
	return ControlPlane{
		Name: part, Dir: b.dir(part), LogPath: b.logPath(part),
		Port: b.Ports[part], Processors: Share(len(b.planes())), DieWithParent: b.m.DieWithParent,
	}
}

func (b *box) logPath(part string) string { return b.dir(logsName, part+".log") }

// lockPath is the lock that the process of a part holds while it runs.
func (b *box) lockPath(part string) string { return b.dir(part, "lock") }

func (b *box) address(part string) string {
	return "https://" + net.JoinHostPort(Loopback, strconv.Itoa(b.Ports[part]))
}

// login is how a user of a group gets to a part. The router lets in whom the RCP lets in.
func (b *box) login(part, user, group string) (entry, error) {
	plane := part
	if part == routerName {
		plane = rcpName
	}
	ca, err := b.controlPlane(plane).authority()
	if err != nil {
		return entry{}, err
	}
	issued, err := ca.client(user, group, b.m.Clock.Now())
	if err != nil {
		return entry{}, err
	}
	return entry{server: b.address(part), ca: ca.certPEM, credentials: issued}, nil
}

// admin is how the user of the sandbox gets to a part.
func (b *box) admin(part string) (entry, error) { return b.login(part, adminUser, mastersGroup) }

// context is the name of a part's context; that of the router is the sandbox's own name.
func (b *box) context(part string) string {
	if part == routerName {
		return b.name
	}
	return b.name + "-" + part
}

// planes are the names of all control planes, the RCP first.
func (b *box) planes() []string {
	names := []string{rcpName}
	for _, cell := range b.Cells {
		names = append(names, cell.Name)
	}
	return names
}

// founder is a cell as the federation learns of it, with an identity of its own.
func (b *box) founder(name string) (federation.NewCell, error) {
	kubeconfig, err := b.federationKubeconfig(name)
	if err != nil {
		return federation.NewCell{}, err
	}
	return federation.NewCell{Name: name, Kubeconfig: kubeconfig}, nil
}

// federationKubeconfig returns the kubeconfig that routers use for a cell. It is made once per
// address and kept, so that telling the federation twice tells it the same.
func (b *box) federationKubeconfig(name string) ([]byte, error) {
	path := b.dir(name, "federation.kubeconfig")
	if had, err := clientcmd.LoadFromFile(path); err == nil && had.Clusters[name] != nil && had.Clusters[name].Server == b.address(name) {
		return clientcmd.Write(*had)
	}
	at, err := b.login(name, federationUser, mastersGroup)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := at.encode(name)
	if err != nil {
		return nil, err
	}
	return kubeconfig, writeFile(path, kubeconfig)
}

// encode returns a kubeconfig of this entry alone.
func (e entry) encode(name string) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: e.server, CertificateAuthorityData: e.ca}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: e.credentials.cert, ClientKeyData: e.credentials.key,
	}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig of %s: %w", name, err)
	}
	return data, nil
}

// explain turns the end of a process into an error for people. The log of a sandbox that has never
// worked is removed with it, so that the lines in the error are all there is.
func (b *box) explain(part string, err error) error {
	ended, ok := errors.AsType[*daemon.StartError](err)
	if !ok || ended.Exit < 0 {
		return err
	}
	explained := exit.Errorf(exit.Failure, "sandbox %s: %w", b.name, err)
	if b.Complete {
		return explained.WithHint("tail -n 50 %s", b.logPath(part))
	}
	return explained.WithHint("remove the cause that the last lines name, then run the same command again")
}
