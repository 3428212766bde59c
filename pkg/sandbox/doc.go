// Package sandbox runs a whole federation on one machine: a router control plane, cells and the daemons,
// each a real process, with contexts for them in the user's kubeconfig.
//
// Everything of a sandbox is below one directory; deleting it while nothing runs deletes the
// sandbox. What runs is never remembered, but read from the locks that the processes hold, so that
// a crash of anything leaves nothing that the next [Manager.Up] cannot go on from. One lock per
// sandbox serialises the operations that change it.
//
// A sandbox is for one user on one machine: it listens on the loopback address only, and its
// credentials, which may do everything, are files that only their owner can read.
//
// Start reading at [Manager.Up].
package sandbox
