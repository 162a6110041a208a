// Package policy decides how TLS is spoken: versions, cipher suites, key
// exchanges and protocols, towards clients and towards https upstreams.
//
// # Invariants
//
//  1. Nothing below TLS 1.2 is spoken, on either side (RFC 9325 §3.1.1).
//  2. TLS 1.2 is spoken with ephemeral key exchange and AEAD suites only
//     (RFC 9325 §4.2); TLS 1.3 has no others.
//  3. Key exchange is hybrid post-quantum with every peer that knows it.
//  4. An upstream is verified unless its configuration says otherwise in so
//     many words.
//
// # Concurrency
//
// The functions are pure but for reading a file of authorities; what they
// return must not be modified while it is in use.
//
// # What it does not do
//
// It chooses no certificates (see tls/certs) and asks clients for none. Session
// tickets are left to crypto/tls: keys are made at random, changed every day
// and never leave the process, so a client that meets another node, or the
// same one after an upgrade, makes a full handshake; in exchange there is no
// key whose theft opens recorded sessions.
//
// # Sources
//
// RFC 9325 (BCP 195), RFC 8446, RFC 7301 (ALPN), RFC 9113 §9.2 (TLS for HTTP/2),
// draft-ietf-tls-ecdhe-mlkem.
package policy
