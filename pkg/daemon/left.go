package daemon

// Left is what the lock file at path says, whether or not anybody holds the lock: after a crash, who
// held it last. It is empty where the last one ended in order.
func Left(path string) (Holder, error) { return readHolder(path) }

// Alive says whether there is a process with this pid. It need not be the one that somebody has written
// down: a pid is given away again.
func Alive(pid int) bool { return pid > 0 && alive(pid) }
