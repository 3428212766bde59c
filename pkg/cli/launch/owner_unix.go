//go:build !windows

package launch

import (
	"io/fs"
	"strconv"
	"syscall"
)

// ownerOf are the ids of a file's user and group.
func ownerOf(file fs.FileInfo) (user, group string) {
	stat, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return "?", "?"
	}
	return strconv.FormatUint(uint64(stat.Uid), 10), strconv.FormatUint(uint64(stat.Gid), 10)
}
