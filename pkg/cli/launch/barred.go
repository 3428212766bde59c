package launch

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
)

// barred is the outermost of the directories above a program that a user may not enter, such as a home; "" where there is
// none, or where the program is not on this machine. A user that does not exist yet has no rights of its own.
func barred(program, name string) string {
	if name == "root" {
		return ""
	}
	if _, err := os.Stat(program); err != nil {
		return ""
	}
	account, err := user.Lookup(name)
	if err != nil {
		account = &user.User{}
	}
	groups, err := account.GroupIds()
	if err != nil {
		groups = []string{account.Gid}
	}
	first := ""
	for dir := filepath.Dir(program); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && !mayEnter(info, account.Uid, groups) {
			first = dir
		}
		if dir == filepath.Dir(dir) {
			return first
		}
	}
}

func mayEnter(dir fs.FileInfo, uid string, groups []string) bool {
	owner, group := ownerOf(dir)
	switch mode := dir.Mode().Perm(); {
	case owner == uid:
		return mode&0o100 != 0
	case slices.Contains(groups, group):
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
