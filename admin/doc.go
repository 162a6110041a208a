// Package admin is the private listener: what operators and their tools ask of
// a running node.
//
//	GET  /healthz  /readyz  /metrics   for monitoring, without a token
//	     /api/v1/…                     the API; openapi.json is the list
//	GET  /api/v1/reference             that list, for people
//	GET  /debug/pprof/…                profiles of the process
//
// A call goes: login ─► role ─► handler ─► audit (when it may have changed
// something). A handler gets a call, and answers or returns an error; a
// [*Refusal] is told to the caller as it is.
//
// # To add a resource
//
// Its routes are a method of Server in a file of its own, called by New; its part
// of the document is a file in openapi/. The contract tests fail while the two
// differ, and when an answer is not what the document says.
//
// # Invariants
//
//  1. What changes or reveals anything needs an operator with the role for it. The
//     bootstrap token is compared in constant time; health, metrics and the
//     document of the API name no tenant's secret and need none.
//  2. Every error is application/problem+json (RFC 9457); one about a body says
//     with a pointer which member is wrong.
//  3. An address has ten wrong tokens, and one more every six seconds. After that
//     no token of that address is looked at.
//  4. Every call by an operator that may have changed something is in the audit,
//     refused ones too.
//  5. The listener shares no queue with client traffic: it answers while the
//     data path is saturated.
//  6. Every route of the API is in the document with its role, and nothing else is.
//
// It reaches into no other room: cmd hands it functions that answer.
package admin
