// Package decisionlog is a record of limit decisions that outlives the process
// that makes them, for drills: what was asked, when, and what was answered.
//
//	node 1 ── Add ──▶ file, mapped ─┐
//	node 2 ── Add ──▶ file, mapped ─┼── Read ──▶ loadtest/limits/oracle
//	node 3 ── Add ──▶ file, mapped ─┘
//
// Only binaries built with the tag drill write one (package limiter); the shipped
// one has no code for it. All processes of a machine read one CLOCK_MONOTONIC, also
// across network namespaces, so that merging the files gives the order in which
// things happened.
//
// # Invariants
//
//  1. A record that Add has returned from is in the file even if the process is
//     killed the next moment: the file is mapped, shared, and belongs to the kernel.
//  2. A record is read whole or not at all: its time is stored last.
//  3. Nothing is overwritten. What does not fit is counted.
//
// # Concurrency
//
// Add may be called from everywhere: it reserves a slot with one atomic addition,
// takes no lock and does not allocate.
package decisionlog
