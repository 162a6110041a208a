// Package journal keeps small records on disk, so that a process that is killed,
// or a machine that loses power, loses none that was said to be there. It knows
// nothing of what the records mean.
//
//	Append ──▶ buffer ──▶ frame ──▶ write, sync ──▶ Batch is done
//	Append ──┘  (what gathers while one frame is synced is the next)
//
//	DIR/lock            held by the process that writes
//	DIR/00000007.lease  segment: magic, then frames, the first one the head
//	DIR/00000008.lease  the next one, which replaces it once its snapshot is whole
//
// A frame is length (4), CRC-32C of the content (4), content; little endian.
//
// # Invariants
//
//  1. When a Batch is done and the journal is active, the records in it are read
//     back after any crash, in the order in which they were appended.
//  2. Records are read back from the first segment to the last. A segment is
//     removed only when a later one holds everything that [Options].Snapshot gives.
//  3. The segments together are at most about three times a snapshot and 2 MiB.
//  4. A frame that was written in part is not read, nor is anything after it in
//     its segment.
//
// # Failure
//
// When the disk is full, broken or stuck for [Patience], the journal turns
// inactive: batches are done without being on disk, which is for the owner to
// report ([Journal.Stats]). After a second, and then twice as long each time up to a
// minute, it tries to begin a new segment with a new
// snapshot; with the first that succeeds it is active again. A segment whose write
// or sync has failed is never written again: after a failed fsync nobody knows what
// is on disk (Rebello et al., "Can applications recover from fsync failures?",
// USENIX ATC 2020).
//
// # Concurrency
//
// Append and Stats may be called from everywhere; files belong to the goroutine of
// Run. Append calls its function with the journal's lock held.
package journal
