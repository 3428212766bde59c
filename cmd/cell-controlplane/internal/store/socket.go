package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// maxSocketPath is what every supported kernel takes: 104 bytes on macOS, 108 on Linux, one of them 0.
const maxSocketPath = 103

// openSocket returns a path for the unix socket and a function that removes what was made for it.
//
// The socket lies beside the data, in a directory that only its owner can enter. Where that path is too long for a socket, it lies in
// a directory of the user below the temporary one, whose name follows from the long path: the next run
// after a crash finds and cleans the same directory. The caller holds the control plane's lock, so a
// socket that exists is a leftover.
func openSocket(dir layout.Dir) (string, func(), error) {
	path := dir.EtcdSocket()
	remove := func() { _ = os.Remove(path) }
	if len(path) > maxSocketPath {
		short, err := shortDir(dir)
		if err != nil {
			return "", nil, fault.New(fmt.Errorf("directory %s is too long for a unix socket: %w", dir, err),
				"choose a shorter --dir, or a TMPDIR that only you can write to")
		}
		path = filepath.Join(short, filepath.Base(path))
		remove = func() { _ = os.RemoveAll(short) }
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("removing leftover socket: %w", err)
	}
	return path, remove, nil
}

func shortDir(dir layout.Dir) (string, error) {
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), fmt.Sprintf("kubecell-%d-%x", os.Getuid(), sum[:6]))
	if len(filepath.Join(short, filepath.Base(dir.EtcdSocket()))) > maxSocketPath {
		return "", fmt.Errorf("temporary directory %s is too long as well", os.TempDir())
	}
	if err := os.Mkdir(short, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// The name can be guessed: never follow a link or use a directory that somebody else prepared.
	info, err := os.Lstat(short)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("%s is not a private directory of this user", short)
	}
	return short, nil
}
