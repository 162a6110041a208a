// Package crs inspects requests with OWASP Coraza and the Core Rule Set, at
// a cost that a gateway can pay.
//
//	request ─ structure: arguments, names, depth, bytes        deny above
//	        └ values, as the engine itself would read them
//	          └ proof: no rule can match any of them ───────── pass
//	            └ the engine, with the rules that may match
//	              and the arguments that may be matched ────── findings
//
// # Invariants
//
//  1. Only the engine finds, and so only the engine or a structural limit
//     refuses. What stands before it says "cannot match" or nothing.
//  2. The rules that the engine reports are those that it would report without
//     the proof, request by request (tested over the rule set's own regression
//     tests; the transformations are fuzzed against the engine's in waf/proof).
//  3. Nothing is cut off to be looked at: what is beyond a limit is refused.
//  4. An engine is built once for all routes with the same rules, and only when
//     one of them is switched on.
//
// # Failure
//
// A request whose inspection would cost more than its budget is refused, not
// let through; a body that the engine cannot parse is a finding of its own.
//
// # What it does not do
//
// Response bodies are not inspected. It knows no HTTP server: package proxy
// brings the request and turns the verdict into an answer.
package crs
