// Package ways has the ways in which others keep a limit over several nodes, small
// and as they are usually described, so that the same traffic can be judged by the
// same oracle:
//
//	share      each node has 1/N of the limit, and asks nobody
//	gossip     each node tells the others every 200 ms what it has counted
//	buckets    two counters in Redis, of this window and the one before, weighted
//	redis      a sliding log in Redis, asked for every request
//
// Those with Redis go on without it: a limiter that cannot be asked admits. That is
// what is commonly done, and what it costs is one of the things to see.
//
// They run in one process: a node is a struct, gossip goes through UDP on
// loopback, Redis is a real server. Times and counts of decisions are those of this
// code, without HTTP.
package ways
