// Package fence keeps everybody but the movers from writing to an object in migration, in the cell
// that holds it and atomically with the write.
//
// The fence is an admission policy in each cell that refuses writes, its binding, and the
// role and its binding by which the movers may do their work. The policy looks at one label,
// [v1alpha1.LabelRebalanceStatus], and nothing else. Of an object that has it, before or after the
// write, it refuses
//
//   - update, patch and apply, of the object and of its subresources,
//   - delete, alone or in a collection,
//   - create, and whatever sets, changes or takes off the label.
//
// An apiserver does not evaluate anything for objects without the label. Let through are the group
// [v1alpha1.GroupMovers], and the deletions by which a namespace that goes empties itself: a tombstone
// would hold it up for hours. A tombstone that has finalizers there still waits for who takes these off,
// which is an update, and so the mover's.
//
// What the fence does not see: the subresource scale, since a Scale has no labels of the object that it
// scales, and in a cell whose apiserver serves no such policies, since their API is turned off, everything. Both
// are covered by the barrier of a rebalance, as far as writes come through routers. A cell that is too old to serve them is
// refused: see docs/adr/0018-cells-from-1-30-on.md.
//
// The fence does not keep an administrator of a cell from changing the fence: [Check] tells.
//
// A second policy freezes a cell that was failed over: [Freeze]. It refuses every write of everybody but the
// movers, whatever the object, so that neither the cell's own controllers nor people with direct access make it
// differ from what its workloads have become elsewhere. Let through are also what keeps the control plane
// alive, which is what the apiserver writes as itself and the leases of components and nodes, and reviews,
// which write nothing. Events are refused. Policies and their bindings are beyond any policy, and the freeze leaves its
// mark alone: whoever administers the cell can thaw it. For the second until an apiserver knows the policy a third one
// is in each cell from the beginning, [EarlyName], that does nothing before there is a mark.
//
// Start reading at [Install], then [Freeze].
package fence
