// Command limits judges how well a limit is kept by several nodes: by real sluice
// processes, and by the ways of others given the same requests.
//
//	traffic ──┬─▶ rig: sluice × 3, Redis      ──▶ decisions ──┐
//	          ├─▶ rig: sluice × 3, no Redis   ──▶ decisions ──┼─▶ oracle ──▶ tables
//	          └─▶ ways: share, gossip, buckets, redis ────────┘
//
// See loadtest/README.md for how to run it, and docs/limits.md for what came of it.
package main
