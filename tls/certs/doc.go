// Package certs serves certificates from PEM files, and follows the files when
// they change.
//
//	files ── directory events, polling ── load, check ── set ── atomic pointer
//	                                                               │
//	handshake: SNI, signature algorithms ── GetCertificate ────────┘
//
// # Invariants
//
//  1. A handshake reads one immutable set and takes no lock.
//  2. A pair of files that is broken, does not match or has expired never
//     takes the place of one that served. It is warned about once for each
//     content, and looked at again when the files change.
//  3. The certificate for a name covers it: exactly, else by a wildcard of one
//     label, else it is the default, which the client then judges. Among
//     several, one that the client supports, and ECDSA before RSA, as
//     signing costs a fraction.
//
// # Concurrency
//
// Everything is safe for concurrent use. A mutex is held while files are read,
// never during a handshake.
//
// # Failure
//
// Files that cannot be read at the start, or that a new configuration names,
// are an error that says which file and what is wrong with it. An expired
// certificate is not, when there is none to keep: the other names must go on
// being served, so it is loaded with a warning. Without directory events, as on
// network file systems, changes are noticed by polling.
//
// # What it does not do
//
// It obtains no certificates, staples no OCSP responses and asks for no
// passphrases.
//
// # Sources
//
// RFC 9525 §6.3 (names and wildcards), RFC 6066 §3 (SNI), RFC 7468 (PEM).
package certs
