// Package plan computes what a change of the ring would move, as data, before anything is
// written.
//
// It owns the preview of a rebalance ([Diff], for real workloads) and the rehearsal without a
// cluster ([Simulate], for synthetic ones). Both only count: which workloads move between which
// cells, whose backup changes, how even the load is, and how far from the possible minimum the
// change is.
//
// Invariants: the package is pure (no client, no clock, no I/O); workloads are streamed and
// never held; the results hold numbers and names, no text for people.
//
// Not promised: that a workload counted here still exists when the rebalance runs.
//
// Start reading at [Diff]; Preview says what each number means.
package plan
