// Package federation is what an administrator does to a federation at its router control plane:
// initialise it, add cells and remove them, change the wanted ring, and count what lives where.
//
// Commands and the sandbox call the same functions, so that a cell added by either is the same.
//
// Invariants:
//
//   - Ring.spec is changed by read, modify and write under its resourceVersion, never overwritten.
//     Ring.status is written by [Init] alone, and only before the first epoch.
//   - Every operation may be repeated: what is done already is found and left as it is. An
//     operation that was cut off is completed by the same call.
//   - A cell is checked before anything is written, and one control plane is one cell: its identity
//     is the UID of its namespace kube-system, kept in an annotation of the Cell.
//
// Not promised: that a check still holds a moment later. Routers judge a cell's health for
// themselves.
//
// Errors that a person can act on are of type *exit.Error and carry the exit code and a hint; hints
// are commands of kubectl cell. Start reading at [Init] and [AddCell].
package federation
