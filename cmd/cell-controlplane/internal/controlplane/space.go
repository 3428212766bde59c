package controlplane

import (
	"fmt"
	"syscall"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// neededBytes is what a control plane writes in its first minutes: two pieces of log, the database and
// some room. etcd ends its process when the disk is full, so it is better not started then.
const neededBytes = 64 << 20

func checkSpace(dir layout.Dir) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(string(dir), &stat); err != nil {
		return fmt.Errorf("asking for free space of %s: %w", dir, err)
	}
	free := uint64(stat.Bavail) * uint64(stat.Bsize)
	if free >= neededBytes {
		return nil
	}
	return fault.New(fmt.Errorf("disk of %s has %d MiB free, a control plane needs %d", dir, free>>20, neededBytes>>20),
		"free some space, or choose a directory on another disk with --dir")
}
