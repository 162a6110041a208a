package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/loadtest/limits/oracle"
	"sluice/loadtest/limits/redisd"
	"sluice/loadtest/limits/rig"
	"sluice/loadtest/limits/traffic"
	"sluice/loadtest/limits/ways"
)

// way is a cluster of nodes that keep limits in some way: sluice, or one of others.
// Ask may be called by many goroutines, the rest by one at a time.
type way interface {
	Name() string
	// Begin prepares for the tenants of a plan.
	Begin(*traffic.Plan, time.Time) error
	// Ask has one request decided, and returns when that is done.
	Ask(traffic.Request)
	// Decisions returns those since it was last called.
	Decisions() ([]oracle.Decision, error)
	GossipBytes() (int64, error)
	KillNode(int) error
	StartNode(int) error
	// CutGossip cuts a node off from the others, but not from Redis.
	CutGossip(int) error
	HealGossip() error
	Stop()
}

// contestant is a way with the Redis that it has for itself; nil: none.
type contestant struct {
	way
	redis *redisd.Server
	idle  spent // in a second without requests
}

// spent is what was sent to others.
type spent struct {
	calls  float64 // script calls answered by Redis
	gossip float64 // bytes between nodes
}

// spent reads the counters. While Redis is away its counter cannot be read.
func (c *contestant) spent() (s spent, err error) {
	if c.redis != nil {
		n, err := c.redis.Calls()
		if err != nil {
			return s, err
		}
		s.calls = float64(n)
	}
	n, err := c.GossipBytes()
	s.gossip = float64(n)
	return s, err
}

// ring is the contestants of one contest.
type ring struct {
	all    []*contestant
	dir    string
	window time.Duration
	nodes  int
	where  string // the network, in words
	nets   []*rig.Network
}

// settings of a contest.
type settings struct {
	dir      string
	nodes    int
	window   time.Duration
	limits   []int64 // of all plans
	loopback bool
	others   bool   // the ways of others, too
	home     bool   // sluice without Redis, too
	bug      string // see package limiter
}

// open starts everybody.
func open(s settings) (_ *ring, err error) {
	redisd.Quiet()
	r := &ring{dir: s.dir, window: s.window, nodes: s.nodes}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	binary, err := rig.Build(s.dir)
	if err != nil {
		return nil, err
	}
	kinds := []string{"redis"}
	if s.home {
		kinds = append(kinds, "home")
	}
	clusters := make([]*contestant, len(kinds))
	errs := make([]error, len(kinds))
	var starting sync.WaitGroup
	for i, kind := range kinds {
		net := rig.Detect(s.nodes, s.loopback)
		r.nets = append(r.nets, net)
		r.where = net.Kind
		starting.Go(func() { clusters[i], errs[i] = startCluster(s, kind, binary, net) })
	}
	starting.Wait()
	for _, c := range clusters {
		if c != nil {
			r.all = append(r.all, c)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if !s.others {
		return r, nil
	}
	r.all = append(r.all, &contestant{way: ways.Share(s.nodes, s.window)})
	gossip, err := ways.Gossip(s.nodes, s.window)
	if err != nil {
		return nil, err
	}
	r.all = append(r.all, &contestant{way: gossip})
	for _, build := range []func(string, int, time.Duration) *ways.Way{ways.Buckets, ways.EachRequest} {
		address, err := r.nets[0].HostAddress()
		if err != nil {
			return nil, err
		}
		server, err := redisd.Start(address, s.dir)
		if err != nil {
			return nil, err
		}
		r.all = append(r.all, &contestant{way: build(address, s.nodes, s.window), redis: server})
	}
	return r, nil
}

// startCluster starts one cluster of sluice, with a Redis or without.
func startCluster(s settings, kind, binary string, net *rig.Network) (c *contestant, err error) {
	c = &contestant{}
	o := rig.Options{
		Label: "sluice, no Redis", Binary: binary, Dir: filepath.Join(s.dir, kind), Network: net,
		Nodes: s.nodes, Window: s.window, Limits: s.limits, Bug: s.bug,
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if kind == "redis" {
		address, err := net.RedisAddress()
		if err != nil {
			return nil, err
		}
		if c.redis, err = redisd.Start(address, o.Dir); err != nil {
			return nil, err
		}
		o.Label, o.Redis = "sluice", c.redis
	}
	cluster, err := rig.Start(o)
	if err != nil {
		if c.redis != nil {
			c.redis.Stop()
		}
		return nil, err
	}
	c.way = cluster
	return c, nil
}

func (r *ring) close() {
	var all sync.WaitGroup
	for _, c := range r.all {
		all.Go(func() {
			c.Stop()
			if c.redis != nil {
				c.redis.Stop()
			}
		})
	}
	all.Wait()
	for _, n := range r.nets {
		n.Close()
	}
}

// measureIdle finds out what everybody spends without requests.
func (r *ring) measureIdle(d time.Duration) error {
	before := make([]spent, len(r.all))
	for i, c := range r.all {
		var err error
		if before[i], err = c.spent(); err != nil {
			return err
		}
	}
	time.Sleep(d)
	for i, c := range r.all {
		after, err := c.spent()
		if err != nil {
			return err
		}
		c.idle = spent{(after.calls - before[i].calls) / d.Seconds(), (after.gossip - before[i].gossip) / d.Seconds()}
	}
	return nil
}

// event is something that happens to every contestant during a run.
type event struct {
	at   time.Duration
	what func(*contestant) error
}

// The events.
func killRedis(c *contestant) error {
	if c.redis == nil {
		return nil
	}
	return c.redis.Kill()
}

func restartRedis(c *contestant) error {
	if c.redis == nil {
		return nil
	}
	return c.redis.Restart()
}

func cutGossip(node int) func(*contestant) error {
	return func(c *contestant) error { return c.CutGossip(node) }
}

func healGossip(c *contestant) error { return c.HealGossip() }

func killNode(node int) func(*contestant) error {
	return func(c *contestant) error { return c.KillNode(node) }
}

func startNode(node int) func(*contestant) error {
	return func(c *contestant) error { return c.StartNode(node) }
}

// result is one contestant's part of a run.
type result struct {
	who   string
	all   oracle.Summary
	flows []oracle.Summary // by flow of the plan
	spent spent            // less what is spent without requests
}

// run drives a plan against all contestants at once and judges them. Each is given
// every request at the same moment.
func (r *ring) run(ctx context.Context, p *traffic.Plan, events ...event) ([]result, error) {
	if err := r.writePlan(p); err != nil {
		return nil, err
	}
	start := time.Now().Add(100 * time.Millisecond)
	before := make([]spent, len(r.all))
	for i, c := range r.all {
		if _, err := c.Decisions(); err != nil { // of what came before
			return nil, err
		}
		if err := c.Begin(p, start); err != nil {
			return nil, err
		}
		var err error
		if before[i], err = c.spent(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var faults sync.WaitGroup
	faultErrs := make([]error, len(r.all))
	for i, c := range r.all {
		faults.Go(func() {
			for _, e := range events {
				select {
				case <-time.After(time.Until(start.Add(e.at))):
				case <-ctx.Done():
					return
				}
				if err := e.what(c); err != nil {
					faultErrs[i] = errors.Join(faultErrs[i], fmt.Errorf("%s after %v: %w", c.Name(), e.at, err))
				}
			}
		})
	}
	late := p.Drive(ctx, start, func(q traffic.Request) {
		var asked sync.WaitGroup
		for _, c := range r.all[1:] {
			asked.Go(func() { c.Ask(q) })
		}
		r.all[0].Ask(q)
		asked.Wait()
	})
	faults.Wait()
	if err := errors.Join(append(faultErrs, ctx.Err())...); err != nil {
		return nil, err
	}
	if late > p.Window/10 {
		fmt.Fprintf(os.Stderr, "%s: a request was sent %v late; the machine is too busy for fair figures\n", p.Name, late.Round(time.Millisecond))
	}
	took := time.Since(start).Seconds()
	for _, c := range r.all {
		if cluster, ok := c.way.(*rig.Cluster); ok {
			if err := cluster.Failures(); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", p.Name, c.Name(), err)
			}
		}
	}
	var results []result
	for i, c := range r.all {
		after, err := c.spent()
		if err != nil {
			return nil, err
		}
		list, err := c.Decisions()
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%s has written no decisions: is its binary built with the tag drill?", c.Name())
		}
		res := result{who: c.Name(), flows: make([]oracle.Summary, len(p.Flows))}
		res.spent = spent{after.calls - before[i].calls - took*c.idle.calls, after.gossip - before[i].gossip - took*c.idle.gossip}
		parts := make([][]oracle.Decision, len(p.Flows))
		for _, d := range list {
			if f := p.Flow(int64(d.Limit)); f >= 0 {
				parts[f] = append(parts[f], d)
			}
		}
		for f := range parts {
			res.flows[f] = oracle.Summarize(parts[f])
		}
		res.all = oracle.Summarize(list)
		results = append(results, res)
	}
	return results, nil
}

// writePlan keeps the traffic for others to repeat.
func (r *ring) writePlan(p *traffic.Plan) error {
	f, err := os.Create(filepath.Join(r.dir, strings.ReplaceAll(p.Name, " ", "-")+".traffic"))
	if err != nil {
		return err
	}
	_, err = p.WriteTo(f)
	return errors.Join(err, f.Close())
}
