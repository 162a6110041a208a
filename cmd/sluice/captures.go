package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/admin"
	"sluice/cluster/facts"
	"sluice/conf"
	"sluice/telemetry"
	"sluice/telemetry/payload"
)

// captureKind is the kind of facts that captures are.
const captureKind = "capture"

// captures are the rules by which payloads are logged: those of the file, and
// those that operators made, which are facts that every node of the cluster has.
type captures struct {
	recorder *payload.Recorder
	log      *slog.Logger
	facts    *facts.Store

	mu   sync.Mutex
	doc  *conf.Document           // guarded by mu; in force
	made map[string]admin.Capture // guarded by mu; by name
}

func newCaptures(o payload.Options, log *slog.Logger) *captures {
	return &captures{recorder: payload.New(o), log: log, made: map[string]admin.Capture{}}
}

// apply puts the rules of doc in force.
func (c *captures) apply(doc *conf.Document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doc = doc
	p := &doc.Logs.Payload
	var rules []payload.Rule
	if p.Sample > 0 {
		rules = append(rules, payload.Rule{Name: "sample", Sample: float64(p.Sample), Until: p.Until.Time})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Capture)) {
		r := p.Capture[name]
		rules = append(rules, payload.Rule{
			Name: name, Routes: routeNames(doc, r.Route), Tenant: r.Tenant, Status: r.Status, Sample: float64(r.Sample), Until: r.Until.Time,
		})
	}
	c.recorder.Use(rules)
	c.useMadeLocked() // routes may have other names now
}

// routeNames returns the names of the routes with that name or path; nil for any.
func routeNames(doc *conf.Document, route string) []string {
	if route == "" || doc == nil {
		return nil
	}
	names := []string{route}
	for _, rt := range doc.Routes {
		if rt.Path == route {
			names = append(names, rt.Name)
		}
	}
	return names
}

func (c *captures) useMadeLocked() {
	var rules []payload.Rule
	for _, name := range slices.Sorted(maps.Keys(c.made)) {
		m := c.made[name]
		rules = append(rules, payload.Rule{
			Name: name, Routes: routeNames(c.doc, m.Route), Tenant: m.Tenant, Status: m.Status, Sample: m.Sample, Until: m.Until,
		})
	}
	c.recorder.UseExtra(rules)
}

// follow keeps the rules that operators made on any node.
func (c *captures) follow(store *facts.Store) {
	c.facts = store
	store.Watch(captureKind, func(changes []facts.Change) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, change := range changes {
			if change.Gone {
				delete(c.made, change.Key)
				continue
			}
			var m admin.Capture
			if err := json.Unmarshal(change.Value, &m); err != nil {
				c.log.Warn("a capture of another node cannot be read", telemetry.KeyName, change.Key, telemetry.KeyError, err)
				continue
			}
			c.made[change.Key] = m
		}
		c.useMadeLocked()
	})
}

// Captures returns the rules that are in force; see [admin.Captures].
func (c *captures) Captures() []admin.Capture {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []admin.Capture
	for _, r := range c.recorder.Active(time.Now()) {
		if m, ok := c.made[r.Name]; ok && m.Until.Equal(r.Until) {
			all = append(all, m)
			continue
		}
		all = append(all, admin.Capture{
			Name: r.Name, Route: strings.Join(r.Routes[:min(len(r.Routes), 1)], ""), Tenant: r.Tenant, Status: r.Status,
			Sample: r.Sample, Until: r.Until.UTC(), Source: "file",
		})
	}
	return all
}

// StartCapture makes a rule on every node.
func (c *captures) StartCapture(m admin.Capture) error {
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := c.facts.Set(captureKind, m.Name, value, m.Until); err != nil {
		return fmt.Errorf("keep the capture: %w", err)
	}
	return nil
}

// StopCapture ends a rule on every node; false: there was none.
func (c *captures) StopCapture(name string) (bool, error) {
	if _, ok := c.facts.Get(captureKind, name); !ok {
		return false, nil
	}
	return true, c.facts.Delete(captureKind, name)
}

// samePayloadFile reports whether what only a restart changes is the same.
func samePayloadFile(a, b *conf.PayloadLog) bool {
	return a.File == b.File && a.Keep == b.Keep && a.MaxSize == b.MaxSize && a.MaxBody == b.MaxBody
}
