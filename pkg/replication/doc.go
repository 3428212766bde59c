// Package replication keeps the copies of Replicated objects in the cells equal to their sources in
// the router control plane (RCP).
//
// Replicated are namespaces, CustomResourceDefinitions, RBAC, quotas and the like: what a cell needs
// to judge and to serve its share of the workloads. The RCP is the only source. A copy is written by
// server-side apply as field manager "kubecell", so that what a cell adds for itself (status,
// finalizers, an annotation of its own controllers) is left to it, and what disappears from the
// source disappears from the copy. A quota is divided among the cells; see [Quotas].
//
// Every control plane makes some of these objects for itself: the default service account, the
// namespace kube-system, the bootstrap cluster roles. One that says the same as the source is left
// untouched. Any other object, and one that differs, is adopted: applied over. What is in a cell, is no copy and
// has no source is the cell's own and is never deleted.
//
// [Push] brings one object to one cell, [Sync] all objects; a [Controller] does it for as long as it
// runs. All of them may run twice, at the same time and in any order with each other: each reads the
// copy first and the source last, touches only the copy that it has read, and goes on until the source
// it read is still the newest afterwards. However many run, the last one to end leaves the copy equal
// to the source. A push to many cells at once reads each source once for several of them: see [Sharing].
//
// A namespace and a definition take other objects with them when they go. Such a source has a
// finalizer before the first copy of it is made, and only the Controller takes it off, once no cell has
// a copy any more: so the source cannot vanish while a cell still holds what belongs to it, whoever
// crashes when, and who makes it again never meets an old copy. See [WaitsForCells].
//
// A copy of another source of the same name, or of none, which only a lost RCP, a finalizer taken off by hand or a cell that
// was given up can leave, is replaced or deleted where nothing hangs from it. A namespace or a definition is not: that would
// delete workloads, and after a loss of the RCP all of them. It is reported with [ErrForeign]; a source with the
// annotation [v1alpha1.AnnotationAdopts] takes it over, and [Clear] deletes it in a cell of which nothing counts.
//
// Not promised: that two cells change at the same instant, or that a cell which could not be reached
// is brought up to date by anyone but the Controller or the next Sync.
//
// Start reading at [Push], then [Controller].
package replication
