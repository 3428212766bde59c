// Package quota divides a ResourceQuota among cells, each of which enforces its own part, so that the parts
// together never admit more than the whole, and so that they follow use.
//
// What is known is a [Record]: for each cell the limit that it has to enforce, and a bound that what is used
// there cannot exceed now, nor later before the limit is raised. The bounds of all cells together are the whole
// at most, at every version of the record:
//
//	shrink: lower the limit in the record ─▶ the cell enforces it ─▶ lower the bound in the record
//	grow:   raise limit and bound in the record, by what no other bound takes ─▶ the cell enforces it
//
// So slack goes from cell to cell through the record alone, and who stops in between has lost nothing: the next
// one finds the lower limit beside its old bound and goes on. What a cell has in use when it enforces a lower
// limit stays its bound.
//
// [Plan] makes the next record of the newest one and of what was seen in the cells. It is pure; reading, and
// writing with preconditions, is the work of pkg/replication. Every change of a cell's limit has a generation,
// and a cell's copy says of which it is: a copy is written only over the version that was read before the record
// was read, so that who is late cannot put an old limit over a newer one.
//
// Not promised: anything of what a cell does that enforces no quota, such as one that has no copy yet; that the room for
// what each cell makes for itself in a new namespace, its root CA, is kept in the moment before it does.
//
// Start reading at [Plan].
package quota
