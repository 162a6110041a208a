// Package proxy is the road of a request: it takes a request from a listener,
// finds out whose it is and what holds for it, and brings it to a service and
// the answer back.
//
//	socket ─ engine ─ ServeHTTP: one snapshot, one exchange, one account
//	  client    true address, trace context, normal path          400
//	  ban       denied networks                                   403
//	  endpoint  /healthz, /readyz
//	  redirect  listeners that only lead to TLS                   308
//	  route     host, path, method, header                        404 405
//	  cors      preflights                                        204
//	  shield    limit by address, before credentials              429
//	  auth      credential → identity, tenant, tier, the route    401 403
//	  size      declared size of the body                         413
//	  waf       rules and structural limits; the body is read     403 413
//	  limit     quota, route limit: all or none                   429
//	  rewrite   the request to the service is built
//	  forward   choose, try, maybe try again                      502 503 504
//	  ← relay   headers, then the body as it comes; or a tunnel after 101
//	  ← close   access line, metrics
//
// pipeline.go reads top to bottom as that life. Stages do not wrap one another;
// they write to the exchange and return nil or a refusal.
//
// # Invariants
//
//  1. A request sees one configuration: the snapshot is loaded once.
//  2. A field by which services know tenant, identity, address or request id is
//     never the client's own: it is dropped and written anew.
//  3. A refused request takes nothing from a quota (the address limit of the
//     shield excepted, which exists to count refused ones).
//  4. Every request has exactly one access line and is counted once.
//  5. An answer that cannot be finished is broken off, never ended as if it
//     were whole.
//  6. Nothing keeps an exchange after ServeHTTP has returned.
//
// # Configuration
//
// A document is compiled into an immutable snapshot behind an atomic pointer.
// Compiling starts nothing; applying swaps the pointer and tells the registries
// (key sets, upstreams) what is in use. Requests under way finish by the
// snapshot that they began with.
//
// # Failure
//
// A failure ends one request. The answer is problem+json from the closed table
// in refusal.go; causes go to the access log alone. A panic is a 500 and a log
// line.
//
// # What it does not do
//
// It verifies no token, keeps no count and opens no connection itself: those are
// the engines' (auth, limiter, upstream). It knows no database and no cluster.
//
// Sources: RFC 9110, RFC 9112, RFC 7239 (Forwarded), RFC 9457 (problem details),
// RFC 6750 (bearer tokens), the Fetch standard (CORS), W3C Trace Context,
// draft-ietf-httpapi-ratelimit-headers.
package proxy
