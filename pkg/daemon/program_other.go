//go:build !linux

package daemon

// ProgramOf is the name of the program that runs as pid, or "" where that is not known: as here.
func ProgramOf(int) string { return "" }
