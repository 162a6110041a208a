// Package issuer is a small OpenID Connect issuer with real keys: it stands in
// for Auth0 in the demonstration and in every test that needs signed tokens.
//
//	POST /token?tenant=acme&tier=premium ─► access token, signed now
//	GET  /.well-known/jwks.json          ─► public keys: signing now, and before
//	GET  /.well-known/openid-configuration
//
// Its tokens have the shape of Auth0's access tokens: an issuer with a closing
// slash, an audience list that also names the userinfo endpoint, org_id for the
// tenant, a tier under a namespaced claim, permissions as a list.
//
// # Invariants
//
//  1. Every token that [Issuer.Token] returns verifies with a key that the key
//     set lists at that moment, unless [Claims.Header] was used to spoil it.
//  2. [Issuer.Rotate] changes the signing keys and keeps the former ones listed;
//     [Issuer.Retire] delists the former ones.
//  3. A switch ([Issuer.SetDown], [Issuer.SetDelay]) acts on the next request.
//
// # Concurrency and failure
//
// An [Issuer] starts nothing, holds no goroutine and is safe for concurrent use.
//
// # What it does not do
//
// It asks nobody who they are: whoever reaches /token gets the token they ask
// for. It must listen on loopback alone. It has no login, no refresh tokens and
// no userinfo endpoint.
//
// Sources: RFC 7517 (JWK sets), RFC 7519 (JWT), RFC 7638 (key ids), RFC 8414
// (discovery), RFC 9068 (access tokens), RFC 6749 §5.1 (token response).
package issuer
