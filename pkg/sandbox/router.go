package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

const (
	// adminUser is who the contexts of a sandbox log in as.
	adminUser = "cell-sandbox-admin"
	// federationUser is who a router is in a cell. It acts there for all users and copies RBAC,
	// which takes every right: in a sandbox it simply is an administrator.
	federationUser = "kubecell:federation"
	// routerUser is who the router is at the RCP. Its rights come from federation.GroupRouters.
	routerUser   = "kubecell:router"
	mastersGroup = "system:masters"
)

// startRouter starts the router where it does not run. The RCP must be up.
func (b *box) startRouter(ctx context.Context) (daemon.Result, error) {
	if err := os.MkdirAll(b.dir(routerName), 0o700); err != nil {
		return daemon.Result{}, home.Unusable(b.m.StateDir, err, "")
	}
	if err := b.writeRouterFiles(); err != nil {
		return daemon.Result{}, err
	}
	result, err := daemon.Start(ctx, daemon.Spec{
		Name: routerName,
		Command: []string{
			b.m.Executable, "router", "run",
			"--rcp-kubeconfig", b.dir(routerName, "rcp.kubeconfig"),
			"--state-dir", b.dir(routerName),
			"--bind-address", Loopback,
			"--secure-port", strconv.Itoa(b.Ports[routerName]),
			"--tls-cert-file", b.dir(routerName, "serving.crt"),
			"--tls-private-key-file", b.dir(routerName, "serving.key"),
			"--client-ca-file", b.dir(routerName, "ca.crt"),
			"--admin-listen", net.JoinHostPort(Loopback, "0"), // its log says which
		},
		LockPath: b.lockPath(routerName), LogPath: b.logPath(routerName),
		Grace: stopGrace, DieWithParent: b.m.DieWithParent,
	})
	if err != nil {
		return result, b.explain(routerName, err)
	}
	return result, nil
}

// writeRouterFiles issues what the router needs. Certificates are made once; the kubeconfig is
// written each time, since the RCP may have another port now.
func (b *box) writeRouterFiles() error {
	rcp := b.controlPlane(rcpName)
	ca, err := rcp.authority()
	if err != nil {
		return err
	}
	if err := writeFile(b.dir(routerName, "ca.crt"), ca.certPEM); err != nil {
		return err
	}
	serving := b.dir(routerName, "serving")
	if _, err := os.Stat(serving + ".key"); err != nil {
		issued, err := ca.server(b.m.Clock.Now())
		if err != nil {
			return err
		}
		if err := issued.write(serving); err != nil {
			return err
		}
	}
	return b.writeRCPKubeconfig(routerName, routerUser, federation.GroupRouters)
}

// writeRCPKubeconfig gives a daemon an identity of its own at the RCP.
func (b *box) writeRCPKubeconfig(part, user, group string) error {
	at, err := b.login(rcpName, user, group)
	if err != nil {
		return err
	}
	kubeconfig, err := at.encode(rcpName)
	if err != nil {
		return err
	}
	return writeFile(b.dir(part, "rcp.kubeconfig"), kubeconfig)
}

// awaitServing returns when all that `kubectl get deployments` asks through the router is answered. The
// error is the last answer when ctx ends first.
func awaitServing(ctx context.Context, e entry) error {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:            e.server,
		TLSClientConfig: rest.TLSClientConfig{CAData: e.ca, CertData: e.credentials.cert, KeyData: e.credentials.key},
		QPS:             -1,
	})
	if err != nil {
		return fmt.Errorf("build client of the router: %w", err)
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := client.AppsV1().Deployments(metav1.NamespaceDefault).List(asked, metav1.ListOptions{Limit: 1})
		if err == nil {
			_, err = client.Discovery().ServerGroups() // kubectl asks for these first
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("list deployments through the router: %w (%w)", last, err)
	}
	return err
}
