// Package h1 is the wire format of HTTP/1.1: it reads and writes what goes over
// a connection, strictly and in place, for the server side (proxy/front) and
// the client side (proxy/upstream) alike. It knows no handler, no pool of
// connections and no clock.
//
//	connection ──▶ Reader ──head──▶ ParseRequest / ParseResponse ──▶ Request, Response
//	                 │                                                   │ Framing
//	                 └────────────▶ Body (sized, chunked, until close) ◀─┘
//	Append… ──▶ connection
//
// # Invariants
//
//  1. A message is understood in one way or refused: wherever RFC 9112 lets a
//     recipient repair or choose (bare LF, obs-fold, a repeated Content-Length,
//     Content-Length beside Transfer-Encoding, whitespace before a colon), an
//     [Error] comes back and the connection must end. This is what keeps a
//     request from being smuggled between two readers.
//  2. What this package and net/http both accept, they understand alike; the
//     fuzz tests hold it to that.
//  3. Nothing that was parsed points into the buffer: one string is copied from a
//     head, and names and values are parts of it (or constants).
//  4. Every size that a peer chooses has a bound: [Limits], the length of a
//     chunk-size line, and the ratio of framing to data in chunks.
//  5. No byte is looked at twice while a head is incomplete.
//  6. What is written cannot be split: no name and no value ends a line.
//
// # Memory
//
// One string is allocated for a head; map, slices and buffers are used again. A
// [Reader] holds no buffer while it is released, so an idle connection costs its
// struct alone. Header maps of 16 fields are kept, larger ones dropped.
//
// # Concurrency
//
// A Reader, a Body, a Request and a Response each belong to one goroutine at a
// time. Functions are safe for concurrent use; shared tables are constant.
//
// # Failure
//
// *[Error] is the peer's fault and says what to answer; io.EOF a clean end
// between messages, io.ErrUnexpectedEOF an end within one; everything else is
// the connection's. A time-out of the connection leaves Reader and Body where
// they were: reading may go on.
//
// # What it does not do
//
// No content codings, no transfer coding but chunked, no CONNECT, no HTTP/0.9,
// no obs-fold, no decoding of chunk extensions. It sets no deadlines. It does not judge paths:
// encoded slashes and dot segments are the router's.
//
// # Sources
//
// RFC 9112 (HTTP/1.1), RFC 9110 (HTTP semantics), RFC 3986 (URI). What is refused
// follows RFC 9112 §11 and the published work on request smuggling: Linhart et
// al. 2005, Kettle 2019 (HTTP Desync Attacks) and 2025 (HTTP/1.1 must die).
package h1
