// Package lategc puts off the first garbage collection until the heap is larger than that of most commands ever is. Half of
// the life of a short command is the initialisation of packages, in which the libraries for Kubernetes make some MiB: three
// collections of them were a quarter of the time of `where`.
//
// From the first collection on the collector works as it is set otherwise, by GOGC or by a daemon: a process that lasts takes
// no more memory than without this package.
//
// It is imported for this alone. Go initialises packages by their paths, as far as their imports allow: this one, which
// imports nothing but the runtime, comes before those below k8s.io.
package lategc

import (
	"runtime"
	"runtime/debug"
)

const (
	// usual is what the runtime begins with where GOGC is not set.
	usual = 100
	// late lets the heap grow to 32 MiB before it is collected for the first time: eight times the 4 MiB of usual.
	late = 800
)

func init() { begin() } //nolint:gochecknoinits // nothing else comes before the libraries

// begin sets the collector, unless somebody has.
func begin() {
	if before := debug.SetGCPercent(late); before != usual {
		debug.SetGCPercent(before)
		return
	}
	first := new([64]byte) // is garbage at once, so that the first collection finds it
	runtime.AddCleanup(first, func(int) { end() }, 0)
}

// end takes the setting back, unless somebody has made another one meanwhile.
func end() {
	if now := debug.SetGCPercent(usual); now != late {
		debug.SetGCPercent(now)
	}
}
