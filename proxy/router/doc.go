// Package router finds the route of a request: host, path, method and header
// pick the routes that could answer, tenant and tier pick one of them once the
// caller is known.
//
//	specs ──Compile──► Router (immutable)
//
//	host "api.example.com:443"          path /orgs/7/items/3
//	  │                                   │
//	  ├─ exact   api.example.com ─► tree ─┤        ┌─ "items" ── rest ► leaf: GET, POST, any
//	  ├─ wildcard  *.example.com ─► tree  ├ "orgs" ┼─ {org} ─── "items" ── rest ► leaf
//	  └─ any ────────────────────► tree   └ rest ► └─ rest ► leaf
//
// # Patterns
//
// Host: a name, compared without case, port and closing dot; *.example.com for
// every name below example.com at any depth, but not example.com itself; empty
// or * for any.
//
// Path: segments between slashes. A literal segment is compared after percent
// decoding, as upstreams do, so /@me also meets /%40me. {name} stands for one
// segment that is not empty. A closing /* stands for everything below the
// prefix and for the prefix itself: /docs/* matches /docs, /docs/ and
// /docs/a/b, because a service mounted at a prefix answers there too. Without
// it a pattern is exact: /docs does not match /docs/.
//
// Methods: names, compared with case (RFC 9110 §9.1); none for any. A route
// that names GET also answers HEAD (RFC 9110 §9.3.2).
//
// Headers: each must be there; with a value other than *, one of its field
// lines must be equal to it.
//
// Tenants and tiers: the caller must be one of them; with both lists, both
// must hold. Anonymous callers are in neither.
//
// # Precedence
//
// A route answers only when all its conditions hold. Of those, whatever the
// order of definition, the first wins by:
//
//  1. host: exact, then the longer wildcard, then any
//  2. path, segment by segment from the left: literal (or the end of an exact
//     pattern), then {name}, then *; so the longer prefix wins
//  3. the larger number of headers
//  4. method: named, then GET in place of HEAD, then any
//  5. tenants and tiers, tenants alone, tiers alone, neither
//  6. the order of definition, which then only tells routes with different
//     headers apart: Compile refuses two routes that no request could tell apart
//
// # Before and after identity
//
// Whether a caller must show credentials depends on the route, and the route
// may depend on the caller. [Router.Match] therefore returns every route that
// could still win, best first, down to the first that asks neither for tenant
// nor tier; mostly that is one. They may come from different patterns: whoever
// is not among the tenants of /items/* falls through to /*, as if /items/* did
// not exist, and somebody for whom none is meant gets none.
//
// So the caller identifies the client if any candidate wants it, then calls
// [Match.Select], and then asks what the selected route demands. To go by the
// demands of the first candidate alone would be a hole: an anonymous client
// could fall through from a route where credentials are optional to one where
// they are required.
//
// # Invariants
//
//  1. Match and Select agree with a scan over all routes by the precedence
//     above (FuzzRouter).
//  2. A match visits each node of a tree once at most, so the work is bounded
//     by the size of the configuration whatever the request; no combination of
//     literals and {names} makes it exponential.
//  3. Match and Select do not allocate once a Match has been used.
//  4. [Normalize] is idempotent, and what it returns has one meaning: no dot
//     segments, no empty segments, one spelling of every byte.
//
// # Concurrency
//
// A Router is immutable and safe for any number of goroutines. A Match belongs
// to one goroutine at a time.
//
// # What it does not do
//
// It does not redirect (to add a slash, say), decode or split queries, check
// that a Host is well formed, or answer: 404, 405 and OPTIONS are the caller's
// words.
//
// # Sources
//
// RFC 3986 §5.2.4 and §6.2.2 (normalisation), RFC 9110 §9.1 and §15.5.6
// (methods, 405 and Allow), RFC 9112 §3.2 (request targets).
package router
