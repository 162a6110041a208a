package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/admin"
	"sluice/cluster/facts"
	"sluice/conf"
	"sluice/proxy"
	"sluice/store"
	"sluice/telemetry"
)

// policies are what operators decide of tenants, tiers and keys: kept by the store,
// told to the gateway, asked for by the admin API.
type policies struct {
	store   *store.Store // nil: there is none
	gateway *proxy.Gateway
	limits  func() *conf.Document
	facts   *facts.Store
	log     *slog.Logger

	first chan struct{} // closed when what was decided is in force
	once  sync.Once
}

// Kinds of facts: bypasses, and that the store has something new, which is told
// by gossip beside the database's own ways.
const (
	bypassKind = "bypass"
	storeKind  = "store"
)

// storeURL is the database of doc: a node without a cluster that names none has one
// of its own. Nodes of a cluster must share one, so there it has to be named.
func storeURL(doc *conf.Document) string {
	switch {
	case doc.Store != nil:
		return doc.Store.URL.Reveal()
	case doc.Cluster == nil:
		return "sqlite://" + filepath.Join(doc.Node.DataDir, "sluice.db")
	}
	return ""
}

func (a *app) newPolicies(doc *conf.Document) error {
	p := &policies{gateway: a.gateway, facts: a.facts, log: a.log, first: make(chan struct{})}
	p.limits = func() *conf.Document { d, _ := a.reloader.document(); return d }
	a.policies = p
	p.followBypasses()
	url := storeURL(doc)
	if url == "" {
		p.ready()
		return nil
	}
	var err error
	p.store, err = store.Open(store.Options{
		URL: url, Snapshot: filepath.Join(doc.Node.DataDir, "policies.json"), Log: a.log,
		State: func(err error) { a.health.Degrade("store", err) },
	})
	if err != nil {
		return err
	}
	a.facts.Watch(storeKind, func([]facts.Change) { p.store.Wake() })
	return nil
}

func (p *policies) ready() { p.once.Do(func() { close(p.first) }) }

// Run keeps the gateway told until ctx ends.
func (p *policies) Run(ctx context.Context) error {
	if p.store == nil {
		return nil
	}
	defer p.store.Close()
	var uses sync.WaitGroup
	defer uses.Wait()
	uses.Go(func() { p.keepUses(ctx) })
	return p.store.Follow(ctx, func(objects []store.Object, all bool) {
		p.gateway.UsePolicies(objects, all)
		p.ready()
	})
}

// usesEvery is how often the times at which keys were used last are kept.
const usesEvery = 30 * time.Second

func (p *policies) keepUses(ctx context.Context) {
	kept := map[string]time.Time{}
	keep := func(ctx context.Context) {
		fresh := map[string]time.Time{}
		for id, at := range p.gateway.KeysUsed() {
			if at.After(kept[id]) {
				fresh[id] = at
			}
		}
		if p.store.Touch(ctx, fresh) == nil {
			for id, at := range fresh {
				kept[id] = at
			}
		}
	}
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			keep(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			keep(last)
			return
		}
	}
}

// await waits until what was decided is in force, or was found to be out of reach.
func (p *policies) await(ctx context.Context) error {
	select {
	case <-p.first:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *policies) collect(emit telemetry.Emit) {
	tenants, tiers, keys := p.gateway.Policies()
	emit("sluice_policies", float64(tenants), "tenant")
	emit("sluice_policies", float64(tiers), "tier")
	emit("sluice_policies", float64(keys), "key")
	lists, rules := p.gateway.Security()
	emit("sluice_policies", float64(lists), "address_list")
	emit("sluice_policies", float64(rules), "security_rule")
	emit("sluice_emergency_active", float64(len(p.Bypasses())), "bypass")
	if p.store == nil {
		return
	}
	up := 0.0
	if p.store.Up() {
		up = 1
	}
	emit("sluice_store_up", up, p.store.Engine())
}

// Get, List, Put, Delete and the others are [admin.Policies].
func (p *policies) Get(ctx context.Context, kind, id string) (store.Object, error) {
	if p.store == nil {
		return store.Object{}, admin.ErrNoStore
	}
	return p.store.Get(ctx, kind, id)
}

// List returns a page of objects.
func (p *policies) List(ctx context.Context, q store.Query) ([]store.Object, error) {
	if p.store == nil {
		return nil, admin.ErrNoStore
	}
	return p.store.List(ctx, q)
}

// Put writes an object.
func (p *policies) Put(ctx context.Context, by store.Entry, match int64, kind, id string, body json.RawMessage) (store.Object, error) {
	if p.store == nil {
		return store.Object{}, admin.ErrNoStore
	}
	o, err := p.store.Put(ctx, by, match, kind, id, body)
	p.wrote(&by, kind, id, err)
	return o, err
}

// Delete removes an object.
func (p *policies) Delete(ctx context.Context, by store.Entry, match int64, kind, id string) (store.Object, error) {
	if p.store == nil {
		return store.Object{}, admin.ErrNoStore
	}
	o, err := p.store.Delete(ctx, by, match, kind, id)
	p.wrote(&by, kind, id, err)
	return o, err
}

// wrote tells the other nodes and the log of a change.
func (p *policies) wrote(by *store.Entry, kind, id string, err error) {
	if err != nil {
		return
	}
	now := time.Now()
	if err := p.facts.Set(storeKind, "changed", []byte(now.UTC().Format(time.RFC3339Nano)), now.Add(time.Minute)); err != nil {
		p.log.Debug("a change was not told by gossip", telemetry.KeyError, err) // the database tells it
	}
	by.Kind, by.ID = kind, id
	logCall(p.log, by)
}

// Entries returns the audit.
func (p *policies) Entries(ctx context.Context, before int64, limit int, f store.Filter) ([]store.Entry, error) {
	if p.store == nil {
		return nil, admin.ErrNoStore
	}
	return p.store.Audit(ctx, before, limit, f)
}

// Used returns when keys were used last at any node.
func (p *policies) Used(ctx context.Context, ids []string) (map[string]time.Time, error) {
	if p.store == nil {
		return nil, admin.ErrNoStore
	}
	used, err := p.store.Used(ctx, ids)
	if err != nil {
		used = make(map[string]time.Time, len(ids)) // what this node knows is better than nothing
	}
	here := p.gateway.KeysUsed()
	for _, id := range ids {
		if at, ok := here[id]; ok && at.After(used[id]) {
			used[id] = at
		}
	}
	return used, nil
}

// Tiers returns the limits in force.
func (p *policies) Tiers() map[string]conf.Limit { return p.gateway.Tiers() }

// Routes returns the names of the routes in force.
func (p *policies) Routes() []string { return p.gateway.Routes() }

// CheckExclusion says why the firewall has no such rule, or none with the tag.
func (p *policies) CheckExclusion(rule int, tag string) error {
	return p.gateway.CheckExclusion(rule, tag)
}

// KeyPrefix is what keys start with; "": none are accepted.
func (p *policies) KeyPrefix() string {
	if k := p.limits().Auth.APIKeys; k != nil {
		return k.Prefix
	}
	return ""
}

// Usage is what a tenant has used, in the view of this node.
func (p *policies) Usage(tenant, tier string) []admin.Usage {
	var list []admin.Usage
	for _, u := range p.gateway.Usage(tenant, tier) {
		line := admin.Usage{
			Policy: u.Policy, Tier: u.Tier, Limit: u.Limit, Used: u.Used, Remaining: u.Remaining, Window: conf.Duration(u.Window),
		}
		if u.ResetAfter > 0 {
			line.Reset = time.Now().Add(u.ResetAfter).UTC()
		}
		list = append(list, line)
	}
	return list
}

// followBypasses keeps the gateway told of the bypasses that operators made on any
// node.
func (p *policies) followBypasses() {
	p.facts.Watch(bypassKind, func([]facts.Change) {
		var list []proxy.Bypass
		for _, b := range p.Bypasses() {
			list = append(list, proxy.Bypass{Tenant: b.Tenant, Route: b.Route, Until: b.Until})
		}
		p.gateway.UseBypasses(list)
		if len(list) > 0 {
			p.log.Warn("limits are bypassed", "bypasses", len(list))
		} else {
			p.log.Info("no limit is bypassed any more")
		}
	})
}

// Bypasses returns those in force.
func (p *policies) Bypasses() []admin.Bypass {
	list := []admin.Bypass{}
	for _, f := range p.facts.Snapshot(bypassKind) {
		var b admin.Bypass
		if err := json.Unmarshal(f.Value, &b); err != nil || b.ID != f.Key {
			p.log.Warn("a bypass of another node cannot be read", telemetry.KeyName, f.Key)
			continue
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b admin.Bypass) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// StartBypass makes a bypass on every node.
func (p *policies) StartBypass(b admin.Bypass) error {
	value, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return p.facts.Set(bypassKind, b.ID, value, b.Until)
}

// EndBypass ends one on every node; false: there is none.
func (p *policies) EndBypass(id string) (bool, error) {
	if _, ok := p.facts.Get(bypassKind, id); !ok {
		return false, nil
	}
	return true, p.facts.Delete(bypassKind, id)
}

// audit writes what operators do into the log, and into the store when there is
// one.
type audit struct {
	log   *slog.Logger
	store *store.Store // nil: the log alone
}

// Record writes one entry.
func (a audit) Record(ctx context.Context, e *admin.Entry) {
	entry := e.Stored()
	logCall(a.log, &entry)
	if a.store == nil {
		return
	}
	if err := a.store.Record(ctx, entry); err != nil && !errors.Is(err, store.ErrDown) {
		a.log.Error("an operator's call is in this log alone", telemetry.KeyError, err, telemetry.KeyRequestID, e.RequestID)
	}
}

func logCall(log *slog.Logger, e *store.Entry) {
	log.Info("operator's call", "operator", e.Operator, "role", e.Role, telemetry.KeyClient, e.Address,
		"action", e.Action, "kind", e.Kind, "object", e.ID, telemetry.KeyStatus, e.Status, telemetry.KeyReason, e.Reason,
		telemetry.KeyRequestID, e.RequestID)
}
