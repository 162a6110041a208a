package main

import (
	"log/slog"

	"sluice/cluster/facts"
	"sluice/proxy"
	"sluice/telemetry"
	"sluice/waf/bans"
	"sluice/waf/detector"
	"sluice/waf/event"
	"sluice/waf/geo"
)

// newGuard builds what finds attackers and what keeps them out.
func (a *app) newGuard() {
	a.places = geo.NewFiles(a.log)
	a.events = event.New(a.logs.security, a.logs.redactor)
	a.bans = newBook(a.facts, a.log)
	a.bans.Follow(proxy.Followed(a.events))
	a.detector = detector.New(detector.Options{Bans: a.bans, Report: proxy.Found(a.events), Log: a.log})
}

// newBook connects the bans with the node's facts: what one node bans is a fact
// that gossip takes to all, and that survives restarts.
func newBook(store *facts.Store, log *slog.Logger) *bans.Book {
	b := bans.NewBook(store, log)
	for _, kind := range bans.FactKinds() {
		store.Watch(kind, func(changes []facts.Change) {
			fs := make([]bans.Fact, len(changes))
			for i, c := range changes {
				fs[i] = bans.Fact{Kind: c.Kind, Key: c.Key, Value: c.Value, Expires: c.Expires, Gone: c.Gone}
			}
			b.Apply(fs)
		})
	}
	return b
}

// collectBans reports what is shut out to the metrics.
func collectBans(b *bans.Book, emit telemetry.Emit) {
	for _, l := range []bans.List{bans.Banned, bans.Detected, bans.Allowed} {
		counts := make(map[bans.Kind]int)
		for _, e := range b.Entries(l) {
			counts[e.Kind]++
		}
		for kind, n := range counts {
			if l == bans.Allowed {
				emit("sluice_allowances", float64(n), kind.String())
			} else {
				emit("sluice_bans", float64(n), kind.String(), l.Source())
			}
		}
	}
	emit("sluice_emergency_active", float64(len(b.Entries(bans.Banned))), "ban")
}
