// Package front is the server side of HTTP/1.1: it accepts connections and has an
// [net/http.Handler] answer their requests, at about a third of what net/http's server
// spends on each. Handlers cannot tell the two apart, save for what is listed
// below. HTTP/2 stays with net/http, which gets the connections that ask for it.
//
//	Serve ──accept──▶ conn: one goroutine ──────────────────────────────────┐
//	                    │ TLS handshake ── h2? ──▶ handover ──▶ net/http     │
//	                    ▼                                                   │
//	        ┌──▶ await: no buffer, no exchange, a small stack               │
//	        │           │ first byte                                        │
//	        │           ▼                                                   │
//	        │    exchange from a pool: h1 head → http.Request ──▶ Handler   │
//	        │           │            response ◀── Write, Flush, Hijack ─────┤
//	        │           ▼                                                   ▼
//	        └── one write: head and body                              hijacked: not ours
//
//	sweeper: every 200 ms, every connection: time-outs, clients that have gone, the Date line
//
// # Invariants
//
//  1. A request that h1 refuses never reaches the handler; it is answered by
//     BadRequest, and nothing behind it on its connection is read as a request.
//  2. Responses leave a connection in the order of its requests. A response whose end the client cannot
//     find, or a request whose end was not reached, ends the connection.
//  3. An exchange is used again only when its handler has returned normally and has
//     not hijacked. Whoever keeps a request breaks the contract of
//     [Server.Handler]; Poison shows it. Three things may be kept all the same: strings,
//     the body (a handle made for each request that has one), and
//     contexts derived from the request's, which end with it.
//  4. An idle connection holds a goroutine, its structs and no buffer: under 6 KB.
//  5. A small response is one system call, and so is a piece of a large one.
//  6. What a client can make the server hold, or wait for, has a bound: head,
//     fields, trailer, header time, idle time, body rate, write time, what is drained, lingering.
//  7. When Shutdown has returned nil, every goroutine of the server has ended.
//
// # Concurrency
//
// The connection's goroutine owns conn and exchange. The sweeper and Shutdown look at
// atomics, and take part in one decision only: a connection is closed by a change of
// its word from idle to closed, which the goroutine, taking a request, makes from
// idle to head; one of the two wins. A request's context is cancelled by the sweeper under the
// context's lock, which the end of the request takes too: the wrong request is never
// cancelled. The registry's lock is taken when a connection comes and goes,
// never by a request. A body may be read by another goroutine than the handler's.
//
// # Clients that go away
//
// There is no background reader. Connections whose handler has been running for one
// sweep, and neither reads nor writes, are asked all together by one poll(2) whether
// their client has hung up: the request's context then ends, at most 400 ms late. Handlers that
// write learn it from the write, as everywhere.
//
// # Failure
//
// A panic ends its connection and is logged, http.ErrAbortHandler is not. A passing error of Accept is
// waited out. Time-outs give 408 for a head that has begun, silence for an
// idle connection, and os.ErrDeadlineExceeded to the handler that reads or writes.
//
// # Where it differs from net/http
//
//   - Heads are refused that net/http lets through: everything that [sluice/proxy/h1]
//     lists. A request line that is too long gets 414, CONNECT 501, a late head 408.
//   - OPTIONS * goes to the handler (as with DisableGeneralOptionsHandler).
//   - Once the handler has returned, Request and ResponseWriter belong to
//     another request. Handlers of net/http get away with keeping them.
//   - No CloseNotifier. http.MaxBytesReader limits the body and cannot tell the server to close; unread
//     input beyond DrainBytes closes the connection anyway.
//   - Up to 4 KiB of body wait for a Content-Length, not 2. The fields of a response are in no order.
//   - Informational responses are not sent to HTTP/1.0 clients (RFC 9110 §15.2).
//   - An invalid Content-Length set by a handler is ignored; one beside a
//     Transfer-Encoding too. Of Transfer-Encoding only chunked and identity are understood.
//   - A body that a goroutine is still reading when the response begins is left to it, and is interrupted
//     when the handler returns; net/http waits for it, which can last as long as the client likes.
//   - A client's end of its half is noticed behind pipelined requests too.
//   - Deadlines that a handler sets are taken back after its request.
//   - ReadFrom copies through a buffer of 64 KiB and does not use sendfile or splice: the
//     gateway's bodies come from its own connections, which know better how to be copied.
//
// # What it does not do
//
// HTTP/2 and HTTP/3, the PROXY protocol, HTTP/0.9, CONNECT. It routes nothing, logs no
// requests and counts nothing but connections.
//
// # Sources
//
// RFC 9112 (connections: §9, lingering close: §9.6), RFC 9110, RFC 8446. The idea
// of measuring a body's rate over the time that is spent waiting for it is Kestrel's; that
// of waiting without a buffer is old among event loops.
package front
