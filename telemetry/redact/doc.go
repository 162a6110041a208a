// Package redact takes secrets and personal data out of what is about to be
// logged: bodies, headers, query strings, paths and texts.
//
//	body in pieces ──> Stream ── unit by unit ──┐
//	Text, JSON, Form, Query, Path, Header ──────┴──> by name ──> by detector ──> own patterns ──> dst
//
// A value goes when the name it has says so (password, api_key, Authorization;
// see names.go), or when a detector knows it by its form and, where there are
// any, by its check digits: email address, phone number, payment card, IBAN,
// national ids, IP address, JWT, keys of known services, bearer credentials, and
// texts of such entropy that nobody has written them by hand.
//
// # Invariants
//
//  1. What is written is never more than what came, but for marks: no byte of a
//     value that a detector knows is in the output, whatever the piece sizes in
//     which it came, whatever JSON or percent escapes it is written with.
//  2. A broken or cut document is redacted as text. What is cut in the middle of a
//     value goes as a whole, as half a secret has no check digits.
//  3. JSON stays JSON: a value that goes is replaced by a string.
//  4. A unit, such as a string, a form field or a word, of more than maxUnit bytes
//     that has no boundary goes as a whole: memory is bounded, and what cannot be
//     looked at is not shown.
//  5. In steady state nothing is allocated, but for own patterns that match and
//     JSON within JSON strings.
//
// # Concurrency
//
// A [Redactor] is immutable and safe for concurrent use. A [Stream] belongs to
// one goroutine.
//
// # What it does not do
//
// It knows no context but names: a name, an address or a date of birth in free
// text stays. Images, archives and other binary bodies are not looked into;
// their size is what is logged of them.
//
// # Sources
//
// ISO/IEC 7812-1 annex B (Luhn), ISO 13616 (IBAN, ISO 7064 mod 97-10), RFC 7519
// (JWT), RFC 6750 (bearer), RFC 5321 §4.1.2 (mailboxes), RFC 4291 §2.2 (IPv6),
// ITU-T E.164 (15 digits at most), the rules of each national id beside its check.
package redact
