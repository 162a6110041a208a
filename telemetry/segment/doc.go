// Package segment keeps old logs small and finds lines in them quickly.
//
//	access.log                       current: lines as they come
//	access-20261125T201500.000.log.zst      zstd frames, one for each block of lines
//	access-20261125T201500.000.log.zst.idx  for each block: where, when, and a Bloom filter of what is in it
//
// A compressed segment is what zstd reads: zstd -dc access-*.log.zst. Without its
// index it is searched whole.
//
// # Invariants
//
//  1. Search finds every line that a scan of the whole text finds: an index only
//     rules blocks out. A Bloom filter says no wrongly never, and yes wrongly for
//     about one key in two thousand (12 bits and 8 probes a key: 0.3 %, of which the
//     time range leaves few to ask).
//  2. A damaged or missing index costs time, not lines.
//  3. Lines are found newest first, by where they stand: what a request that took
//     long wrote stands where it ended.
//  4. A cursor stays good while a file is rotated and compressed.
//
// # What it does not do
//
// It keeps no index of the current file, which is at most 256 MiB and is read at
// gigabytes a second.
//
// Sources: RFC 8878 (zstd frames may follow each other); Bloom (1970); Kirsch and
// Mitzenmacher, Less Hashing, Same Performance (2006) for two hashes instead of many.
package segment
