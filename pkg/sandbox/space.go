package sandbox

import (
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

// neededSpace is what one control plane writes before its first user does: etcd allocates 64 MB
// pieces of its log ahead, one in use and one in reserve.
const neededSpace = 160 << 20

// checkSpace refuses to start n control planes where the disk could not hold them: etcd ends its
// process when it cannot write.
func (b *box) checkSpace(n int) error {
	ask := b.m.FreeSpace
	if ask == nil {
		ask = freeSpace
	}
	free, err := ask(b.dir())
	if err != nil {
		return err
	}
	if need := uint64(n) * neededSpace; free < need {
		return exit.Errorf(exit.Failure, "disk of %s has %d MiB free, %d control planes need %d MiB", b.dir(), free>>20, n, need>>20).
			WithHint("free some space, or choose a directory on another disk: export %s=/path", home.Env)
	}
	return nil
}
