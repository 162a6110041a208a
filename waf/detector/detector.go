package detector

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
	"sluice/waf/bans"
)

// Signal is a set of what a request tells of its sender.
type Signal uint8

// The signals.
const (
	AuthFailure Signal = 1 << iota // a credential, or a log-in, was wrong
	Refused                        // no credential, no permission, no such path or method
	Limited                        // over a limit
	Attack                         // the firewall found something
	numSignals  = 4
)

// Observation is one request that has ended. The detector keeps nothing of it.
type Observation struct {
	Time      time.Time
	Address   netip.Addr // the zero Addr: do not count by it, as of one that is allowed
	Subject   string     // verified; "": none, or one that is allowed
	Key       string     // likewise
	Tenant    string
	Route     string
	RequestID string
	Path      string // tells one refusal from another
	// Credential tells one failed credential from another; only its hash is looked
	// at. "": it cannot be told.
	Credential string
	Signals    Signal
}

// Finding is what the detector found out.
type Finding struct {
	Time      time.Time
	Rule      Rule
	Target    bans.Target
	Count     float64 // what was counted
	Limit     float64 // what would have been in order
	Reason    string
	Action    string // observe; block, challenge or tarpit; with would_ in front in the mode observe
	Strikes   int
	Until     time.Time // of the ban
	Tenant    string    // of the request with which it came out
	Route     string
	RequestID string
	Address   netip.Addr
}

// Bans is where bans are made; *bans.Book is one.
type Bans interface {
	Find(bans.List, bans.Target) *bans.Entry
	Add(bans.Entry) (bans.Entry, error)
}

// Options are what a detector works with.
type Options struct {
	Bans   Bans
	Report func(*Finding) // must not block; nil: nobody listens
	Log    *slog.Logger
	// Clients bounds how many addresses, subjects and keys are remembered. Default 65536.
	Clients int
}

const maxTracked = 4096 // clients that were above the floor of a surge

// Detector watches the requests of this node.
type Detector struct {
	bans     Bans
	report   func(*Finding)
	log      *slog.Logger
	settings atomic.Pointer[Settings]
	windows  table
	findings [numRules][2]atomic.Uint64 // by whether they banned

	counts  atomic.Pointer[sketch] // of this tick
	spare   *sketch                // Run's
	tenants tenants

	mu      sync.Mutex
	tracked map[uint64]*tracked // guarded by mu; by hash
}

// tracked is a client that was above the floor of a surge.
type tracked struct {
	target bans.Target
	usual  baseline
	last   Observation // one of its requests; without its strings of the request's buffers
	idle   int         // ticks
}

// New returns a detector that is off until [Detector.Use].
func New(o Options) *Detector {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Report == nil {
		o.Report = func(*Finding) {}
	}
	d := &Detector{bans: o.Bans, report: o.Report, log: o.Log, spare: new(sketch), tracked: make(map[uint64]*tracked)}
	d.windows.seed = maphash.MakeSeed()
	d.windows.limit = max(1, cmp.Or(o.Clients, 1<<16)/shards)
	d.counts.Store(new(sketch))
	d.settings.Store(&Settings{off: true})
	return d
}

// Use puts settings in force; what was counted stays.
func (d *Detector) Use(s *Settings) { d.settings.Store(s) }

// Observe takes a request that has ended. It may ban its sender.
func (d *Detector) Observe(o *Observation) {
	s := d.settings.Load()
	if s.off {
		return
	}
	d.countRequest(s, o)
	if o.Signals == 0 {
		return
	}
	for r := range numWindows {
		if o.Signals&tells[r].signals == 0 {
			continue
		}
		if r == Stuffing && o.Credential == "" {
			continue
		}
		for _, kind := range tells[r].kinds {
			d.count(s, r, kind, o)
		}
	}
}

// value is what an observation says of a kind, "" for nothing.
func (o *Observation) value(kind bans.Kind) string {
	switch kind {
	case bans.Subject:
		return o.Subject
	case bans.Key:
		return o.Key
	case bans.Tenant:
		return o.Tenant
	}
	return ""
}

// who returns the hash by which the sender of o counts as kind.
func (d *Detector) who(kind bans.Kind, o *Observation) (hash uint64, ok bool) {
	if kind == bans.Address {
		if !o.Address.IsValid() {
			return 0, false
		}
		return d.windows.hashAddr(o.Address), true
	}
	v := o.value(kind)
	return d.windows.hash(kind, v), v != ""
}

func (o *Observation) target(kind bans.Kind) bans.Target {
	if kind == bans.Address {
		return targetOf(o.Address)
	}
	return bans.Target{Kind: kind, Value: o.value(kind)}
}

func (d *Detector) count(s *Settings, r Rule, kind bans.Kind, o *Observation) {
	hash, ok := d.who(kind, o)
	l := &s.rules[r]
	if !ok || l.count == 0 {
		return
	}
	var thing uint64
	if tells[r].distinct {
		text := o.Path
		if r == Stuffing {
			text = o.Credential
		}
		thing = maphash.String(d.windows.seed, text)
	}
	now := o.Time.UnixNano()
	var n float64
	d.windows.with(hash, now, func(c *client) {
		w := c.windows[r]
		if w == nil {
			w = &window{startNS: now}
			if tells[r].distinct {
				w.distinct = new(distinct)
			}
			c.windows[r] = w
		}
		if n = w.add(now, l.per, thing); n >= l.count {
			w.clear() // the next finding takes as much again
		}
	})
	if n < l.count {
		return
	}
	d.found(s, l, &Finding{
		Rule: r, Target: o.target(kind), Count: n, Limit: l.count,
		Reason: fmt.Sprintf("%s: %.0f %s within %s", r, n, what[r], l.per),
	}, o)
}

// found acts on a finding and reports it.
func (d *Detector) found(s *Settings, l *limits, f *Finding, o *Observation) {
	f.Time, f.Tenant, f.Route, f.RequestID, f.Address = o.Time, o.Tenant, o.Route, o.RequestID, o.Address
	banned := 0
	switch {
	case !l.ban || f.Target.Kind == bans.Tenant:
		f.Action = "observe"
	default:
		f.Action = l.action.String()
		d.sentence(s, l, f)
		if !s.enforce {
			f.Action = "would_" + f.Action
		} else if d.ban(l, f) {
			banned = 1
		}
	}
	d.findings[f.Rule][banned].Add(1)
	d.report(f)
}

// sentence decides how long a ban is to last.
func (d *Detector) sentence(s *Settings, l *limits, f *Finding) {
	f.Strikes = 1
	if before := d.bans.Find(bans.Struck, f.Target); before != nil {
		f.Strikes = before.Strikes + 1
	}
	lasts := l.lasts
	for range f.Strikes - 1 {
		if lasts *= 2; lasts >= s.maxFor {
			break
		}
	}
	f.Until = f.Time.Add(min(lasts, max(s.maxFor, l.lasts)))
}

// memory is how long after a ban's end its strike counts.
const memory = 24 * time.Hour

// ban bans the target of f, unless it is banned already.
func (d *Detector) ban(l *limits, f *Finding) bool {
	if d.bans.Find(bans.Detected, f.Target) != nil {
		return false // by another node, or by a request that ended at the same time
	}
	e := bans.Entry{
		Target: f.Target, List: bans.Detected, Action: l.action, Reason: f.Reason, By: "detector", Until: f.Until, Strikes: f.Strikes,
	}
	if _, err := d.bans.Add(e); err != nil {
		d.log.Warn("what the detector found is not banned", "target", f.Target.String(), telemetry.KeyError, err)
		return false
	}
	e.List, e.Until = bans.Struck, e.Until.Add(memory)
	if _, err := d.bans.Add(e); err != nil {
		d.log.Warn("a strike is not remembered", "target", f.Target.String(), telemetry.KeyError, err)
	}
	return true
}

// Run makes the ticks until ctx is done.
func (d *Detector) Run(ctx context.Context) error {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			d.tick(now)
		}
	}
}

// Collect emits the metrics.
func (d *Detector) Collect(emit telemetry.Emit) {
	for r := range numRules {
		for i, banned := range [2]string{"no", "yes"} {
			if n := d.findings[r][i].Load(); n > 0 {
				emit("sluice_detector_findings_total", float64(n), r.String(), banned)
			}
		}
	}
	emit("sluice_detector_clients", float64(d.windows.size.Load()))
}
