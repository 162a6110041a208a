package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"sluice/cluster"
	"sluice/cluster/facts"
	"sluice/conf"
)

// openFacts opens the node's store of small facts with a lifetime, each room's
// under kinds of its own. It is there on a lone node, too; with a cluster, gossip
// brings what is written here to every node and the others' facts here. What it
// holds survives restarts and upgrades.
//
// Rooms set a value under a kind and a key until a time, delete it, and keep what
// Watch tells in a snapshot of their own. Values are theirs to version.
func openFacts(doc *conf.Document, line *lineage, log *slog.Logger) (*facts.Store, error) {
	s, err := facts.Open(facts.Options{
		Node: uint64(cluster.NewID(doc.Node.Name)), Path: filepath.Join(doc.Node.DataDir, "facts.snap"), Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the node's facts: %w", err)
	}
	if line.wire != nil {
		s.Freeze() // the predecessor still keeps them
	}
	return s, nil
}

// factsPart hands the facts over: what is written while the successor takes its
// place is refused, not lost.
func factsPart(s *facts.Store) part {
	return part{
		name:   "facts",
		give:   func(send func([]byte) error) error { s.Freeze(); return send(s.Encode()) },
		take:   s.Restore,
		resume: func() error { s.Thaw(); return nil },
	}
}
