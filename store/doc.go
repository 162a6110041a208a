// Package store keeps what operators decide in a database: tenants with their
// limits, and the audit of who changed what. SQLite is embedded; PostgreSQL is
// for clusters.
//
//	admin ──► Put, Delete ──► database ──► Follow ──► policies in memory ──► requests
//	             │  one transaction: sequence, object, audit      │
//	                                                              └──► policies.json, for
//	                                                                   a start without it
//
// Objects of all kinds share one table of JSON bodies: nodes read policies whole
// into memory and never ask the database for one of them by a column.
//
// # Invariants
//
//  1. Every change has the next number of one sequence, which is the revision of
//     the object. Numbers become visible in their order, so that who has read up
//     to n misses nothing.
//  2. A change and its audit entry are in one transaction.
//  3. A change meant for another revision than the present one changes nothing.
//  4. Nothing here is on the road of a request: while the database is down,
//     changes fail with ErrDown and everything else goes on.
//
// # Failure
//
// Follow tries for ever to reach the database and applies the migrations when it
// does, under a lock: an advisory one of PostgreSQL, the write lock of SQLite. A
// node that starts meanwhile has the objects of its last snapshot.
package store
