// Package daemon launches, finds and ends processes that outlive the command which started them.
//
// A daemon's identity is a file lock that it takes itself and holds for its whole life; the kernel
// drops the lock when the process ends, in whatever way. The lock file says who holds it, and that
// is believed only while the lock is held: a pid that was left behind, and belongs to some other
// program by now, is never signalled.
//
// A process is one of ours in two ways. On the inside it calls [AcquireLock] and [Lock.Record]
// first of all, and prints a line "ready URL" on standard output when it can be used. On the outside
// [Start], [Stop] and [Inspect] need nothing but the path of the lock.
//
// A log is put aside when it is large at the next start. A daemon that runs for months cuts its own by
// writing through a [RotatingFile]; [Tail] and [Follow] read either kind.
//
// Not promised: that what a process writes past its RotatingFile, on standard error, is ever cut.
package daemon
