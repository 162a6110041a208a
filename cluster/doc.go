// Package cluster will hold the membership of nodes and the gossip between them.
//
// This version runs one node: the package fixes where membership lives, and
// nothing imports it yet. A configuration with a cluster section is checked,
// and check and serve warn that the node joins nothing.
package cluster
