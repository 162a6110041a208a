package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"sluice/cluster/facts"
	"sluice/conf"
	"sluice/telemetry"
)

// limitsKind is the kind of the facts that number the limits of configurations: the
// key is their hash, the value the number.
const limitsKind = "limits"

// limitsRevisions gives numbers to the limits of configurations.
type limitsRevisions struct {
	facts *facts.Store
	log   *slog.Logger

	mu     sync.Mutex // guards what follows: the limits that were compiled last
	hash   string
	number uint64
}

// of numbers the limits of a configuration, so that nodes which read
// different ones for a while agree on which are the newer. The number is the Unix
// time, in milliseconds, at which a node of the cluster first had these limits, or
// came back to them; a node that meets limits which another has numbered takes the
// number over.
func (r *limitsRevisions) of(doc *conf.Document) uint64 {
	hash := limitsHash(doc)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hash == hash {
		return r.number
	}
	var number, highest uint64
	for _, f := range r.facts.Snapshot(limitsKind) {
		n := revisionOf(f)
		highest = max(highest, n)
		if f.Key == hash {
			number = n
		}
	}
	if number <= r.number { // not met before, or older than what is in force here: it is newer now
		number = max(uint64(time.Now().UnixMilli()), highest+1)
		value := binary.BigEndian.AppendUint64(nil, number)
		if err := r.facts.Set(limitsKind, hash, value, time.Now().Add(limitsRemembered)); err != nil {
			// The number still rises with time, and others find their own.
			r.log.Debug("limits numbered by this node alone", telemetry.KeyError, err)
		}
	}
	r.hash, r.number = hash, number
	return number
}

// limitsRemembered is how long a number is known after it was given.
const limitsRemembered = 90 * 24 * time.Hour

func revisionOf(f facts.Fact) uint64 {
	if len(f.Value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(f.Value)
}

// limitsHash is a digest of all that makes limits in doc.
func limitsHash(doc *conf.Document) string {
	type route struct {
		Path  string
		Limit any
	}
	all := struct {
		Tiers, Limits any
		Routes        []route
	}{Tiers: doc.Tiers, Limits: []any{doc.Limits.DefaultTier, doc.Limits.Anonymous, doc.Limits.Address}}
	for _, r := range doc.Routes {
		if r.Limit != nil {
			all.Routes = append(all.Routes, route{r.Path, r.Limit})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic("BUG: limits do not marshal: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
