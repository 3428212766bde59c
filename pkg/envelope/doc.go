// Package envelope is the form of a backup: one Secret in kubecell-system of a backup cell for one object,
// as its own cell served it, nothing taken off.
//
//	name         deterministic from the object ([Name]), so that looking one up is one GET
//	type         kubecell.io/workload-backup
//	labels       kubecell.io/backup-cell-id, kubecell.io/source-cell
//	annotations  kubecell.io/unit, kubecell.io/envelope (JSON: what is in it), kubecell.io/promoted
//	data         object: the object's JSON, compressed with zstd
//
// An envelope is inert: no controller of the backup cell takes the object in it for one of its own.
//
// Invariants:
//
//   - The package is pure: no client, no clock, no I/O. Equal input gives equal bytes, as long as the compressor
//     stays the same; whoever compares envelopes compares headers.
//   - What [Open] returns is what was sealed, or it fails with a [CorruptError]: the object has the hash in the
//     header, and names itself as the header, the labels and the Secret's name do.
//   - A [Header] needs the metadata of the Secret alone, so that lists by metadata tell what is there.
//
// Not promised: secrecy beyond that of the cell's Secrets. Whoever may read these may read what is backed up.
//
// Why zstd at its fastest, with entropy coding of everything: of a Deployment of 1,719 bytes 689 are left, in
// 35 µs (flate level 1: 693 in 75 µs, level 6: 650 in 127 µs). Of 900 KiB of random bytes, which JSON holds as
// 1,200 KiB of base64, 901 KiB are left, in 8 ms; without entropy coding it would be all of it, and too much for a
// Secret (flate level 1: 903 KiB in 14 ms, level 6: 904 KiB in 120 ms).
//
// Start reading at [Sealer.Seal] and [Open].
package envelope
