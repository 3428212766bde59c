package sandbox

import (
	"context"
	"net"
	"os"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

// backupUser is who the backup daemon is at the RCP. Its rights come from federation.GroupBackup.
const backupUser = "kubecell:backup"

// startBackup starts the backup daemon where it does not run. The RCP must be up.
func (b *box) startBackup(ctx context.Context) (daemon.Result, error) {
	if err := os.MkdirAll(b.dir(backupName), 0o700); err != nil {
		return daemon.Result{}, home.Unusable(b.m.StateDir, err, "")
	}
	if err := b.writeRCPKubeconfig(backupName, backupUser, federation.GroupBackup); err != nil {
		return daemon.Result{}, err
	}
	result, err := daemon.Start(ctx, daemon.Spec{
		Name: backupName,
		Command: []string{
			b.m.Executable, "backup", "run",
			"--rcp-kubeconfig", b.dir(backupName, "rcp.kubeconfig"),
			"--state-dir", b.dir(backupName),
			"--listen", net.JoinHostPort(Loopback, "0"),
		},
		LockPath: b.lockPath(backupName), LogPath: b.logPath(backupName),
		Grace: stopGrace, DieWithParent: b.m.DieWithParent,
	})
	if err != nil {
		return result, b.explain(backupName, err)
	}
	return result, nil
}
