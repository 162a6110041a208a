// Package redis asks a Redis, Valkey or Dragonfly server for rights: it carries
// out the calls that a lease.Node wants made.
//
// A pipeline is one round trip. Nothing is retried here: whether a pipeline that
// failed was carried out does not matter to the Node, which repeats itself safely,
// and the Node decides when to try again.
//
// With a Redis Cluster the keys are spread over [clusterTags] hash tags, each with
// a register of its own in its slot; the registers are told the same things, and
// what they answer counts only when they agree.
package redis
