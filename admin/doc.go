// Package admin is the private listener: what operators and their tools ask of
// a running node.
//
//	GET  /healthz                  the process runs and answers
//	GET  /readyz                   it may be sent traffic; if not, why
//	GET  /metrics                  Prometheus text
//	GET  /api/v1/status            version, configuration, services       token
//	GET  /api/v1/config            the configuration in force, as YAML    token
//	POST /api/v1/config:reload     apply the file on disk                 token
//	GET  /api/v1/cluster           members, clocks                        token
//	GET  /api/v1/cluster/keys      gossip keys by fingerprint             token
//	POST /api/v1/cluster/keys:VERB install, use or remove one             token
//	GET  /debug/pprof/…            profiles of the process                token
//
// Invariants
//
//  1. What changes or reveals anything needs the operator's token, compared in
//     constant time; health and metrics name no tenant's secret and need none.
//  2. Every error is application/problem+json (RFC 9457).
//  3. The listener shares no queue with client traffic: it answers while the
//     data path is saturated.
//
// It reaches into no other room: cmd hands it functions that answer.
package admin
