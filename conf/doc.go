// Package conf is the configuration: its types, how a file becomes them, and
// every word that is said about a file that is wrong.
//
//	bytes ─ syntax ─▶ YAML tree ─ decode ─▶ Document ─ derive ─▶ ─ validate ─▶ *Document
//	           │                    │                                │
//	           └────────────────────┴──── Problems ◀─────────────────┘
//	                                (all of them, with line, column and what would be right)
//
// The struct tags of document.go are the single source: the strict decoder, the
// JSON Schema ([Schema]) and docs/configuration.md are generated from them, and
// defaults.go holds every default with its reason.
//
// # Invariants
//
//  1. [Parse] returns a document exactly when no problem is an error, and such a
//     document is complete: every default is filled in and every name in it that
//     refers to something refers to something.
//  2. All problems come at once, each with the position of the offending value
//     and with what would be right. One cause gives one problem.
//  3. No input panics, and none takes more than a bounded amount of memory: size,
//     nesting and the unfolding of aliases are limited.
//  4. A [Secret] is never printed, and neither a problem nor an excerpt quotes one
//     or anything that came out of the environment.
//  5. Variables are expanded in values, after the YAML was read: what a variable
//     holds can change one value and never the structure.
//
// # Concurrency
//
// A [Document] is pure data. It is not changed after Parse returned it, so any
// number of goroutines may read it.
//
// # What it does not do
//
// It opens no other file than the one it is given and no connection: a missing
// certificate or an unreachable issuer is found by the room that needs it, which
// reports the place by [Document.Pos]. It applies nothing and watches nothing.
//
// # Sources
//
// YAML 1.2.2 §10.3 for the core schema, YAML 1.1 for merge keys; JSON Schema
// 2020-12; RFC 9110 §5 for header fields, RFC 6454 for origins, RFC 7518 §3.1
// and RFC 8037 for signature algorithms.
package conf
