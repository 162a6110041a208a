// Package auth says who is calling: it turns a bearer token into an [Identity]
// with tenant, tier, subject and permissions, or into a refusal with a reason.
//
//	           configuration snapshot                     process
//	          ┌──────────────────────┐          ┌─────────────────────────┐
//	header ─► │ BearerToken          │          │ KeyStore                │
//	          │ Verifier             │   URL    │  source ◄── JWKS URL A  │
//	          │  ├ issuer A ─────────┼────────► │  source ◄── JWKS URL B  │
//	          │  ├ issuer B          │          │  refreshed beside the   │
//	          │  └ remembered tokens │          │  requests, by Run       │
//	          └──────────┬───────────┘          └─────────────────────────┘
//	                     ▼
//	            *Identity or *Error ─► Challenge
//
// [Compile] makes a [Verifier] from a configuration; it belongs to one snapshot
// and starts nothing. The [KeyStore] lives as long as the process: snapshots come
// and go, and what they have in common is fetched once. When a snapshot goes
// live, [KeyStore.Use] is told of its key sets.
//
// # Invariants
//
//  1. A token is accepted only with a signature that holds under a key which the
//     token's own issuer lists now, by the one algorithm of that key, which the
//     configuration accepts for that issuer. Never none, never a MAC, never a key
//     or an address that the token brings along.
//  2. An identity's texts are fit for headers, logs and metric labels; a claim
//     that is not is a refusal, never a guess.
//  3. A remembered token is never believed longer than exp and leeway, nor after
//     its key was delisted, nor under another configuration of its issuers, nor
//     after [Verifier.Flush].
//  4. One token is never taken for another: see tokenCache.
//  5. Tokens that nobody signed cost the issuer at most one fetch per cool-down
//     however many they are, evict no good token, and take bounded memory.
//  6. What the issuer last said stays in force while it cannot be reached.
//  7. Nothing of a token's content is in an Error's public fields.
//
// # Rotation: when a request waits
//
// A request does not wait for an issuer, with two exceptions of at most
// [KeyStoreOptions].Wait, 2 s:
//
//   - until the first try to get the keys of its issuer has ended, well or not;
//   - when its token names a key that is not known, until the fetch has ended
//     that this caused, or that was under way.
//
// The alternative is to answer 401 and fetch in the background. Then each node
// would refuse some valid tokens at each rotation, and a client that gets a 401
// logs its user out. The price is small: such a fetch starts at most once in a
// cool-down (60 s) for each key set, so between two of them nobody waits, at most
// 1,024 requests wait at a time, and requests with a known key never do. A key id
// that comes within the cool-down causes a fetch at its end, so an attacker who
// uses it up right before a rotation delays the new key by a minute at most.
// An id that the issuer was asked for and did not list is not asked for again
// for five cool-downs.
//
// # Concurrency
//
// Everything may be used from any goroutine. The path of a remembered token takes
// no lock and writes no shared memory but a counter in stripes. There are two
// kinds of mutexes beside it: KeyStore.mu is taken before source.mu.
//
// # Failure
//
//   - Issuer unreachable: the last good keys stay, their age is in [KeyStore.Stats];
//     tries back off to one a minute.
//   - Issuer never reached: its tokens are refused with [ReasonKeysUnavailable],
//     which is 503 and not 401, because nothing is wrong with them.
//   - A set without usable keys counts as unreachable: a broken deployment of the
//     issuer is likelier than the wish to lock everybody out.
//
// # What it does not do
//
// It does not know routes, limits or HTTP answers, looks nothing up in a
// database, does not introspect opaque tokens and decrypts no JWE. API keys are in
// a [Keyring] that others fill; they give the same Identity, with [MethodKey].
//
// # Sources
//
// RFC 6750 (bearer tokens), RFC 7515 and 7517 to 7519 (JWS, JWK, JWA, JWT), RFC
// 8725 (JWT best current practices), RFC 9068 (access tokens), RFC 9110 §11 and
// RFC 9111 §5.2 (HTTP).
package auth
