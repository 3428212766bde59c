//go:build unix && !linux

package daemon

// ended says whether pid is only what is left of a process, where that is known: not here.
func ended(int) bool { return false }
