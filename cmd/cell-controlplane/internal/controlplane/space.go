package controlplane

import (
	"fmt"
	"os"
	"syscall"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// What a control plane writes when it starts: two pieces of etcd's log and a database on the first run,
// very little on later ones. etcd ends its process when the disk is full, so it is better not started then.
const (
	neededFirst = 48 << 20
	neededLater = 4 << 20
)

func checkSpace(dir layout.Dir) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(string(dir), &stat); err != nil {
		return fmt.Errorf("asking for free space of %s: %w", dir, err)
	}
	free := stat.Bavail * uint64(stat.Bsize)
	var needed uint64 = neededFirst
	if _, err := os.Stat(dir.EtcdMember()); err == nil {
		needed = neededLater
	}
	if free >= needed {
		return nil
	}
	return fault.New(fmt.Errorf("disk of %s has %d MiB free, a control plane needs %d", dir, free>>20, needed>>20),
		"free some space, or choose a directory on another disk with --dir")
}
