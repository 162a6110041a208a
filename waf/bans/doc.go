// Package bans keeps who is shut out, of everything and on every node, until
// when and why, and answers in nanoseconds whether a request is.
//
//	operator ─┐                      ┌─► Set ─┐
//	detector ─┼─► Book ─► facts ─► Book │ Set ├─► View ─► entry or nothing
//	other nodes ──────────┘          └─► Set ─┘   ▲
//	configuration ─────────────────────────► Set ─┘
//
// A ban names a [Target]: an address or network, a country, an autonomous
// system, a tenant, a subject, an API key, a route, a path pattern or a user
// agent. An allowance names an address or network, a tenant, a subject or a key.
// Each has a reason, an author and an end.
//
// # Invariants
//
//  1. An allowance wins over every ban, whatever either of them names. One of an
//     identity (tenant, subject, key) wins once the credential has been verified,
//     also over a ban of the address that it comes from.
//  2. Nothing is in force at or after its end, on no node, however late the
//     sweep comes.
//  3. What the book has written is in force on this node when Add returns.
//  4. Bans of the detector cannot crowd out an operator's: they have room of
//     their own.
//  5. A [View] is immutable and looking into it allocates nothing.
//
// # Concurrency
//
// A Book is safe for concurrent use. Changes are applied under its mutex and
// published as a new Set behind an atomic pointer; networks are shared between
// the old and the new one, so that a change costs no more with ten thousand bans
// than with ten.
//
// # Failure
//
// The store is the node's own: it cannot be down. A full store refuses new bans
// with an error. A fact that cannot be read, as one of a newer version, is not in
// force here; it is counted and said.
//
// # What it does not do
//
// It does not know HTTP, and it replicates nothing: the store does.
package bans
