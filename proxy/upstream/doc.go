// Package upstream is the way to a service: balancing, health, ejection, a pool
// of connections, and an HTTP/1.1 transport in which the goroutine of a request
// itself writes the request and reads the response.
//
//	Registry ── Service ── Pick ──▶ Endpoint ── Do ──▶ pool ──▶ conn ──▶ upstream
//	   │           ▲                   │                          │
//	   │        (table)  ◀── health, ejection                   watch
//	   └── Run: every 25 ms looks at each watch ──────────────────┘
//
// [Registry.Service] compiles a section of the configuration, [Registry.Use] puts the
// result into use. [Service.Pick] chooses an [Endpoint], [Endpoint.Do] makes one
// try. Whether another try follows is the caller's decision, by what [Error]
// says and within the [Budget].
//
// # One exchange
//
// The head, and a body of up to 32 KiB, are composed in one pooled buffer
// straight from the client's header; no second map is built. Then three system
// calls, with one visit to the poller: a read that finds an idle connection
// silent and arms the poller, the write, and the read of the answer. A response that has
// arrived whole lets go of its connection at once, before anything is written
// to the client. A larger request body is sent by a helper goroutine, so that
// both directions flow at the same time.
//
// Time-outs and contexts cost an exchange no timer, no deadline and no
// goroutine: the exchange leaves a beat when something moves, and the
// registry's ticker ends those whose beat stands still, whose deadline has
// passed or whose context has ended: at most two ticks late, never early.
//
// HTTP/2 (h2c, or chosen in TLS by ALPN) goes through net/http's transport
// behind the same types.
//
// # Invariants
//
//  1. A response is understood in one way or refused (package h1). When bytes come
//     that belong to no response, the connection is closed and never used again;
//     an idle connection is looked at before each use for that reason too.
//  2. No field of a request ends its line: the lines that were written are counted
//     before anything is sent.
//  3. A body ends with io.EOF only where its framing says so. Cut short, it is an
//     [Error], so that the caller can cut off its own response.
//  4. A request is sent a second time only when it is certain that the upstream did
//     not see it, or when it is idempotent, its connection had been idle, and no
//     byte of an answer has come (RFC 9112 §9.3.1). It is certain when the idle
//     connection was found closed, or ended without having acknowledged a byte of the request.
//  5. After Do has failed, or Close returned, nothing touches the Request, its
//     body, its header or its context: they can be pooled.
//  6. The endpoint is blamed for its own failures alone: never for a client that goes
//     away or sends slowly, nor for a full pool.
//  7. Ejection alone never takes out more than its share, so never the last one.
//  8. There are never more than max_connections to an endpoint, tunnels included
//     and health checks, which use connections of their own, aside.
//
// # Concurrency
//
// Registry, Service, Endpoint and Budget are safe for concurrent use; a Request
// and a Response belong to one goroutine. Idle connections lie in shards by the number of
// cores, and what Pick reads is immutable. What cores share on the way of a request are the
// endpoint's counter of exchanges (two additions) and, for round_robin, the turn.
// Lock order: Registry.mu, Service.mu, state.mu; pool.waitMu before a shard's.
//
// # Failure
//
// Kinds of [Error] say what happened; see there. When no endpoint is available, those that
// answered their last health check, whatever they said, are tried all the same; when none
// answers, Pick says [ErrNoUpstream]. Without [Registry.Run] nothing is watched: there are no
// time-outs but for connecting.
//
// # What it does not do
//
// It makes no further try on another endpoint, does not rewrite, compress or cache, follows no redirect,
// and knows no tenant. Host names are resolved by each dial, through the
// dialer, which tries all addresses. A client that does not read its response
// is not bounded here: only the reading from the upstream is.
//
// # Sources
//
// RFC 9110 §7.6 (forwarding), RFC 9112 §6, §9 (framing, connections), RFC 8305
// (dialling). Weighted rendezvous hashing: Schindelhauer and Schomaker 2005. Power
// of two choices: Mitzenmacher 2001. Outlier ejection and panic follow Envoy, smooth
// weighted round robin nginx.
package upstream
