package detector

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/conf"
	"sluice/waf/bans"
)

// store is one node's facts.
type store struct{ book *bans.Book }

func (s *store) Set(kind, key string, value []byte, expires time.Time) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Value: value, Expires: expires}})
	return nil
}

func (s *store) Delete(kind, key string) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Gone: true}})
	return nil
}

type rig struct {
	*Detector
	t    *testing.T
	book *bans.Book
	now  time.Time

	mu    sync.Mutex
	found []Finding
}

// newRig has a detector with the defaults of the configuration, changed by waf.
func newRig(t *testing.T, detector string) *rig {
	t.Helper()
	s := new(store)
	s.book = bans.NewBook(s, nil)
	r := &rig{t: t, book: s.book, now: time.Now()}
	r.Detector = New(Options{Bans: s.book, Report: func(f *Finding) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.found = append(r.found, *f)
	}})
	r.use(detector)
	return r
}

func (r *rig) use(detector string) {
	r.t.Helper()
	doc, problems := conf.Parse("test.yaml", []byte("services: {a: {upstreams: ['http://127.0.0.1:1']}}\nroutes: [{path: /*, service: a}]\nwaf: {detector: {"+detector+"}}\n"), nil)
	if problems.Err() != nil {
		r.t.Fatal(problems)
	}
	r.Use(Compile(doc.WAF.Detector))
}

func (r *rig) see(signals Signal, address string, more ...func(*Observation)) {
	o := Observation{Time: r.now, Signals: signals, Route: "/*", RequestID: "r1"}
	if address != "" {
		o.Address = netip.MustParseAddr(address)
	}
	for _, f := range more {
		f(&o)
	}
	r.Observe(&o)
}

func path(p string) func(*Observation)       { return func(o *Observation) { o.Path = p } }
func credential(c string) func(*Observation) { return func(o *Observation) { o.Credential = c } }

func (r *rig) banned(target string) *bans.Entry {
	r.t.Helper()
	at, err := bans.ParseTarget(target)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.book.Find(bans.Detected, at)
}

func TestFailedAuthenticationsBanTheAddress(t *testing.T) {
	r := newRig(t, "mode: enforce")
	for i := range 19 {
		r.see(AuthFailure, "203.0.113.7")
		if r.banned("203.0.113.7") != nil {
			t.Fatalf("banned after %d", i+1)
		}
	}
	r.see(AuthFailure, "203.0.113.8")
	r.see(AuthFailure, "203.0.113.7")
	e := r.banned("203.0.113.7")
	if e == nil || e.Action != bans.Block || e.Strikes != 1 || e.By != "detector" || !strings.Contains(e.Reason, "20 failed authentications within 10m") {
		t.Fatalf("after 20: %+v", e)
	}
	if left := e.Until.Sub(r.now); left < 15*time.Minute-time.Second || left > 15*time.Minute {
		t.Errorf("for %v", left)
	}
	if r.banned("203.0.113.8") != nil {
		t.Error("the neighbour is banned")
	}
	if len(r.found) != 1 || r.found[0].Rule != BruteForce || r.found[0].Action != "block" || r.found[0].RequestID != "r1" {
		t.Errorf("found %+v", r.found)
	}
}

// Invariant 3.
func TestFurtherBansLastTwiceAsLong(t *testing.T) {
	r := newRig(t, "mode: enforce, max_for: 1h, brute_force: {count: 2, for: 20m}")
	at, _ := bans.ParseTarget("203.0.113.7")
	for strike, want := range []time.Duration{20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		r.see(AuthFailure, "203.0.113.7")
		r.see(AuthFailure, "203.0.113.7")
		e := r.banned("203.0.113.7")
		if e == nil || e.Strikes != strike+1 {
			t.Fatalf("strike %d: %+v", strike+1, e)
		}
		if left := e.Until.Sub(r.now).Round(time.Second); left != want {
			t.Errorf("strike %d: for %v, want %v", strike+1, left, want)
		}
		if _, err := r.book.Remove(bans.Detected, at); err != nil {
			t.Fatal(err)
		}
	}
	// Who is forgiven begins anew.
	if _, err := r.book.Remove(bans.Struck, at); err != nil {
		t.Fatal(err)
	}
	r.see(AuthFailure, "203.0.113.7")
	r.see(AuthFailure, "203.0.113.7")
	if e := r.banned("203.0.113.7"); e == nil || e.Strikes != 1 {
		t.Errorf("after it was forgiven: %+v", e)
	}
}

// Invariant 2.
func TestObservingBansNobody(t *testing.T) {
	r := newRig(t, "brute_force: {count: 2}")
	for range 4 {
		r.see(AuthFailure, "203.0.113.7")
	}
	if n := len(r.book.Entries(bans.Detected)); n != 0 {
		t.Errorf("%d bans", n)
	}
	if len(r.found) != 2 || r.found[1].Action != "would_block" || r.found[1].Strikes != 1 {
		t.Errorf("found %+v", r.found)
	}
	r.use("mode: off")
	for range 9 {
		r.see(AuthFailure, "203.0.113.7")
	}
	if len(r.found) != 2 {
		t.Error("off, and finds something")
	}
	r.use("mode: enforce, brute_force: {count: 2, action: observe}")
	for range 9 {
		r.see(AuthFailure, "203.0.113.7")
	}
	if last := r.found[len(r.found)-1]; last.Action != "observe" || len(r.book.Entries(bans.Detected)) != 0 {
		t.Errorf("a rule that observes: %+v", last)
	}
}

func TestDifferentCredentialsAreStuffing(t *testing.T) {
	r := newRig(t, "mode: enforce, brute_force: {count: 1000}")
	for range 30 {
		r.see(AuthFailure, "203.0.113.7", credential("the same"))
		r.see(AuthFailure, "203.0.113.7") // cannot be told
	}
	if len(r.found) != 0 {
		t.Errorf("one credential again and again: %+v", r.found)
	}
	for i := range 13 {
		r.see(AuthFailure, "203.0.113.8", credential(fmt.Sprint(i)))
	}
	if e := r.banned("203.0.113.8"); e == nil || !strings.HasPrefix(e.Reason, "credential_stuffing") {
		t.Errorf("thirteen different ones: %v", e)
	}
}

func TestScansAreDifferentPaths(t *testing.T) {
	r := newRig(t, "mode: enforce")
	for i := range 600 { // a client that looks again and again for ten things that are not there
		r.now = r.now.Add(time.Second)
		r.see(Refused, "203.0.113.7", path(fmt.Sprint("/thing/", i%10)))
	}
	if len(r.found) != 0 {
		t.Errorf("the same ten paths: %+v", r.found)
	}
	as := func(o *Observation) { o.Subject = "auth0|7" }
	for i := range 36 { // different things are told apart by hash, so about
		r.see(Refused, "203.0.113.8", path(fmt.Sprint("/admin", i)), as)
	}
	if r.banned("203.0.113.8") == nil || r.banned("subject=auth0|7") == nil {
		t.Errorf("36 different paths: %+v", r.found)
	}
}

func TestAttacksAndLimitsCountByWhomTheyAreOf(t *testing.T) {
	r := newRig(t, "mode: enforce, throttled: {count: 5}")
	key := func(o *Observation) { o.Key, o.Tenant = "k1", "acme" }
	for range 10 {
		r.see(Attack, "2001:db8:0:1::7", key)
	}
	if r.banned("2001:db8:0:1::/64") == nil || r.banned("key=k1") == nil || r.banned("tenant=acme") != nil {
		t.Errorf("attacks: %+v", r.book.Entries(bans.Detected))
	}
	for range 5 {
		r.see(Limited, "203.0.113.9")
	}
	if e := r.banned("203.0.113.9"); e == nil || e.Action != bans.Challenge {
		t.Errorf("over a limit: %+v", e)
	}
	// Invariant 1: the gateway says nothing of who is allowed.
	n := len(r.found)
	for range 50 {
		r.see(Attack|AuthFailure|Limited, "")
	}
	if len(r.found) != n {
		t.Errorf("nobody was found: %+v", r.found[n:])
	}
}

func TestCountsFade(t *testing.T) {
	r := newRig(t, "mode: enforce")
	for range 100 { // one a minute: 10 in ten minutes
		r.now = r.now.Add(time.Minute)
		r.see(AuthFailure, "203.0.113.7")
	}
	if len(r.found) != 0 {
		t.Errorf("found %+v", r.found)
	}
}

func (r *rig) tenTicks(n int, each func()) {
	for range n {
		each()
		r.now = r.now.Add(Tick)
		r.tick(r.now)
	}
}

func TestASurgeIsMeasuredAgainstTheOwnPast(t *testing.T) {
	r := newRig(t, "mode: enforce, surge: {floor: 1/s, factor: 5, action: challenge}")
	as := func(tenant, subject string, n int) {
		for range n {
			r.see(0, "203.0.113.7", func(o *Observation) { o.Tenant, o.Subject, o.Address = tenant, subject, netip.Addr{} })
		}
	}
	// globex always sends 40 a tick, acme 2.
	r.tenTicks(60, func() { as("globex", "auth0|g", 40); as("acme", "auth0|a", 2) })
	if len(r.found) != 0 {
		t.Fatalf("as usual: %+v", r.found)
	}
	r.tenTicks(1, func() { as("globex", "auth0|g", 60); as("acme", "auth0|a", 60) })
	var got []string
	for _, f := range r.found {
		got = append(got, f.Rule.String()+" "+f.Target.String()+" "+f.Action)
	}
	if want := "surge subject=auth0|a challenge, surge tenant=acme observe"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	// It is told once, and not learnt while it lasts.
	r.tenTicks(30, func() { as("acme", "auth0|a", 60) })
	if len(r.found) != 2 {
		t.Errorf("told again: %+v", r.found[2:])
	}
	r.tenTicks(3, func() { as("acme", "auth0|a", 2) })
	r.tenTicks(1, func() { as("acme", "auth0|a", 90) })
	if len(r.found) < 3 {
		t.Error("a second surge is not told")
	}
}

func TestATenantsFailuresAreMeasuredAgainstItsOwn(t *testing.T) {
	r := newRig(t, "mode: enforce")
	fail := func(tenant string, n int) {
		for range n {
			r.see(AuthFailure, "", func(o *Observation) { o.Tenant = tenant })
		}
	}
	r.tenTicks(40, func() { fail("globex", 15); fail("acme", 1) })
	r.tenTicks(1, func() { fail("globex", 30); fail("acme", 30) })
	if len(r.found) != 1 || r.found[0].Rule != Anomaly || r.found[0].Target.Value != "acme" || r.found[0].Action != "observe" {
		t.Errorf("found %+v", r.found)
	}
}

// Invariant 4.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, "surge: {floor: 0.1/s}")
	r.windows.limit = 16
	for i := range 14000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		r.Observe(&Observation{Time: r.now, Address: a, Signals: AuthFailure, Tenant: fmt.Sprint("t", i)})
	}
	if n := r.windows.size.Load(); n > 16*shards || n < 8*shards {
		t.Errorf("%d clients are remembered, of at most %d", n, 16*shards)
	}
	if n := r.tenants.known.Load(); n > maxTenants {
		t.Errorf("%d tenants", n)
	}
	if len(r.tracked) > maxTracked {
		t.Errorf("%d tracked", len(r.tracked))
	}
	// All is forgotten in time.
	r.tenTicks(1, func() { r.now = r.now.Add(24 * time.Hour) })
	if n := r.windows.size.Load(); n != 0 {
		t.Errorf("%d clients are remembered a day later", n)
	}
	nobody := new(sketch)
	for range 2 {
		r.tickClients(r.settings.Load(), nobody, r.now)
		r.tickTenants(r.settings.Load(), r.now)
		for _, t := range r.tracked {
			t.idle = forget
		}
		r.tenants.keep(func(_ string, t *tenant) bool {
			t.idleTicks = forget
			return true
		})
	}
	if n := r.tenants.known.Load(); n != 0 || len(r.tracked) != 0 {
		t.Errorf("%d tenants and %d tracked are remembered", n, len(r.tracked))
	}
}

// Invariant 5.
func TestAFaultlessRequestAllocatesNothing(t *testing.T) {
	r := newRig(t, "")
	o := Observation{Time: r.now, Address: netip.MustParseAddr("203.0.113.7"), Subject: "auth0|7", Tenant: "acme"}
	if n := testing.AllocsPerRun(150, func() { r.Observe(&o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestManyAtOnceAreBannedOnce(t *testing.T) {
	r := newRig(t, "mode: enforce")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				r.see(AuthFailure, "203.0.113.7", credential("one"))
			}
		})
	}
	all.Wait()
	if e := r.banned("203.0.113.7"); e == nil || e.Strikes != 1 {
		t.Errorf("%+v", e)
	}
}

func BenchmarkObserve(b *testing.B) {
	d := New(Options{})
	d.Use(&Settings{surge: limits{count: 1e9}, factor: 10})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		o := Observation{Time: time.Now(), Address: netip.MustParseAddr("203.0.113.7"), Subject: "auth0|7", Tenant: "acme"}
		for pb.Next() {
			d.Observe(&o)
		}
	})
}
