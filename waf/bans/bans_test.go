package bans

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// memory is a store of one node, as package cluster/facts behaves towards the
// book: what is written comes back through the watcher before Set returns.
type memory struct {
	book  *Book
	facts map[[2]string]Fact
	full  bool
}

func (m *memory) Set(kind, key string, value []byte, expires time.Time) error {
	if m.full {
		return errors.New("full")
	}
	f := Fact{Kind: kind, Key: key, Value: value, Expires: expires}
	m.facts[[2]string{kind, key}] = f
	m.book.Apply([]Fact{f})
	return nil
}

func (m *memory) Delete(kind, key string) error {
	f, ok := m.facts[[2]string{kind, key}]
	if ok {
		f.Gone = true
		m.book.Apply([]Fact{f})
	}
	return nil
}

func newBook(t testing.TB) (*Book, *memory) {
	m := &memory{facts: map[[2]string]Fact{}}
	m.book = NewBook(m, nil)
	return m.book, m
}

func add(t testing.TB, b *Book, l List, target string, lasts time.Duration) Entry {
	t.Helper()
	at, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Add(Entry{Target: at, List: l, Reason: "test", Until: time.Now().Add(lasts)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTargetsHaveOneForm(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", "203.0.113.7/32": "203.0.113.7", "203.0.113.77/24": "203.0.113.0/24",
		"::ffff:203.0.113.7": "203.0.113.7", "::ffff:203.0.113.0/120": "203.0.113.0/24",
		"2001:DB8::1/64": "2001:db8::/64", "country=kp": "country=KP", "asn=AS64496": "asn=64496",
		"agent=SQLMap": "agent=sqlmap", "path=/a/*": "path=/a/*", "subject=auth0|a=b": "subject=auth0|a=b",
	} {
		got, err := ParseTarget(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
		if back, err := parseKey(got.key()); err != nil || back != got {
			t.Errorf("%s: the key reads as %v, %v", text, back, err)
		}
	}
	for _, text := range []string{
		"", "tenant=", "house=7", "203.0.113", "fe80::1%eth0", "::ffff:1.2.3.4/64", "country=KPX", "country=K1",
		"asn=0", "asn=x", "path=api", "agent=**", "tenant=a\nb", "tenant=" + strings.Repeat("x", 241),
	} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q reads as %v", text, got)
		}
	}
}

func TestEveryKindIsFound(t *testing.T) {
	b, _ := newBook(t)
	now := time.Now()
	caller := Caller{Address: netip.MustParseAddr("203.0.113.9"), Country: "KP", ASN: "64496", Path: "/api/export/7", Agent: "Mozilla/5.0 SQLMap/1.8"}
	id := Identity{Tenant: "acme", Subject: "auth0|7", Key: "k1", Route: "/api/*"}
	for _, target := range []string{
		"203.0.113.0/24", "203.0.113.9", "country=KP", "asn=64496", "path=/api/export/*", "path=*/7", "agent=sqlmap", "agent=mozilla*1.8",
		"tenant=acme", "subject=auth0|7", "key=k1", "route=/api/*",
	} {
		v := NewView(b, nil)
		if e := cmpOr(v.Early(&caller, now), v.Late(&id, now)); e != nil {
			t.Fatalf("%s is in force before it is added", e.Target)
		}
		for _, l := range []List{Banned, Detected} {
			e := add(t, b, l, target, time.Minute)
			v = NewView(b, nil)
			if got := cmpOr(v.Early(&caller, now), v.Late(&id, now)); got == nil || got.Target != e.Target {
				t.Errorf("%s on list %s: got %v", target, l.FactKind(), got)
			}
			if was, err := b.Remove(l, e.Target); !was || err != nil {
				t.Errorf("remove %s: %v, %v", target, was, err)
			}
		}
		at, _ := ParseTarget(target)
		v = NewView(b, NewSet([]*Entry{FromFile(at, Block, "file", now.Add(time.Minute))}))
		if got := cmpOr(v.Early(&caller, now), v.Late(&id, now)); got == nil || got.List.Source() != "file" {
			t.Errorf("%s in the file: got %v", target, got)
		}
	}
	if len(b.hits) != 0 {
		t.Errorf("%d counters are kept of bans that are gone", len(b.hits))
	}
}

func cmpOr(a, b *Entry) *Entry {
	if a != nil {
		return a
	}
	return b
}

// Invariant 2: at its end a ban is over, though nobody has swept it, and a wider
// one behind it holds.
func TestOverAtItsEnd(t *testing.T) {
	b, _ := newBook(t)
	add(t, b, Banned, "203.0.113.0/24", time.Hour)
	e := add(t, b, Banned, "203.0.113.9", time.Minute)
	add(t, b, Banned, "tenant=acme", time.Minute)
	v := NewView(b, nil)
	c := Caller{Address: netip.MustParseAddr("203.0.113.9")}
	if got := v.Early(&c, e.Until.Add(-time.Nanosecond)); got == nil || got.Value != "203.0.113.9" {
		t.Errorf("just before its end: %v", got)
	}
	if got := v.Early(&c, e.Until); got == nil || got.Value != "203.0.113.0/24" {
		t.Errorf("at its end: %v", got)
	}
	if got := v.Early(&c, e.Until.Add(2*time.Hour)); got != nil {
		t.Errorf("after all ends: %v", got)
	}
	if got := v.Late(&Identity{Tenant: "acme"}, e.Until.Add(time.Second)); got != nil {
		t.Errorf("the tenant after its end: %v", got)
	}
}

// Invariant 1.
func TestAllowancesAreFound(t *testing.T) {
	b, _ := newBook(t)
	now := time.Now()
	v := NewView(b, nil)
	if v.AllowsIdentities() || v.AllowsAddress(netip.MustParseAddr("203.0.113.9"), now) {
		t.Error("an empty book allows somebody")
	}
	add(t, b, Allowed, "203.0.113.0/24", time.Minute)
	add(t, b, Allowed, "key=k1", time.Minute)
	v = NewView(b, nil)
	if !v.AllowsAddress(netip.MustParseAddr("203.0.113.9"), now) || v.AllowsAddress(netip.MustParseAddr("203.0.114.9"), now) {
		t.Error("the allowed network is not what was allowed")
	}
	if !v.AllowsIdentities() || !v.AllowsIdentity(&Identity{Key: "k1"}, now) || v.AllowsIdentity(&Identity{Key: "k2", Tenant: "k1"}, now) {
		t.Error("the allowed key is not what was allowed")
	}
	for _, target := range []string{"country=DE", "path=/*", "agent=curl", "route=x", "asn=1"} {
		at, _ := ParseTarget(target)
		if _, err := b.Add(Entry{Target: at, List: Allowed, Reason: "x", Until: now.Add(time.Hour)}); err == nil {
			t.Errorf("%s can be allowed", target)
		}
	}
}

func TestBadEntriesAreRefused(t *testing.T) {
	b, m := newBook(t)
	now := time.Now()
	good := Entry{Target: Target{Tenant, "acme"}, Reason: "r", Until: now.Add(time.Hour)}
	for name, change := range map[string]func(*Entry){
		"no reason":   func(e *Entry) { e.Reason = " " },
		"long reason": func(e *Entry) { e.Reason = strings.Repeat("x", 301) },
		"line break":  func(e *Entry) { e.Reason = "a\nb" },
		"no end":      func(e *Entry) { e.Until = time.Time{} },
		"past":        func(e *Entry) { e.Until = now.Add(-time.Second) },
		"for ever":    func(e *Entry) { e.Until = now.Add(400 * 24 * time.Hour) },
		"bad target":  func(e *Entry) { e.Target = Target{Address, "x"} },
		"bad action":  func(e *Entry) { e.Action = 9 },
	} {
		e := good
		change(&e)
		var badEntry *BadEntry
		if _, err := b.Add(e); !errors.As(err, &badEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.full = true
	if _, err := b.Add(good); err == nil {
		t.Error("a full store took an entry")
	}
	m.full = false
	for i := range maxPatterns {
		add(t, b, Banned, fmt.Sprintf("path=/p%d", i), time.Hour)
	}
	if _, err := b.Add(Entry{Target: Target{Path, "/more"}, Reason: "r", Until: now.Add(time.Hour)}); !errors.Is(err, ErrFull) {
		t.Errorf("one pattern too many: %v", err)
	}
	add(t, b, Banned, "path=/p7", time.Hour) // one that is there can be renewed
}

// What a node writes, with the longest texts, another reads.
func TestFactsAreReadBack(t *testing.T) {
	b, m := newBook(t)
	e, err := b.Add(Entry{
		Target: Target{Subject, strings.Repeat("s", maxValue)}, Action: Tarpit, List: Detected, Strikes: 12,
		Reason: strings.Repeat("<&\"", 100), By: strings.Repeat("o", 80), Until: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newBook(t)
	for k, f := range m.facts {
		if len(f.Value) > 768 || len(k[1]) > 255 {
			t.Errorf("the fact takes %d bytes, its key %d", len(f.Value), len(k[1]))
		}
		other.Apply([]Fact{f, {Kind: f.Kind, Key: "nonsense", Value: f.Value}, {Kind: f.Kind, Key: "tenant:x", Value: []byte("{"), Expires: f.Expires}, {Kind: "other"}})
	}
	got := other.Find(Detected, e.Target)
	if got == nil || got.Reason != e.Reason || got.Strikes != 12 || got.Action != Tarpit || !got.Until.Equal(e.Until) || !got.Since.Equal(e.Since) || len(got.By) != maxBy {
		t.Errorf("got %+v, want %+v", got, e)
	}
	if other.Unread() != 2 {
		t.Errorf("%d facts unread, want 2", other.Unread())
	}
	if n := len(other.Entries(Detected)); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func TestFollowersHearOfEveryChange(t *testing.T) {
	b, _ := newBook(t)
	var heard []string
	b.Follow(func(e *Entry, gone bool) { heard = append(heard, fmt.Sprint(e.Target, " ", gone)) })
	e := add(t, b, Banned, "tenant=acme", time.Hour)
	add(t, b, Banned, "tenant=acme", 2*time.Hour)
	if _, err := b.Remove(Banned, e.Target); err != nil {
		t.Fatal(err)
	}
	if was, _ := b.Remove(Banned, e.Target); was {
		t.Error("what is gone was there")
	}
	if got := strings.Join(heard, ","); got != "tenant=acme false,tenant=acme false,tenant=acme true" {
		t.Error(got)
	}
}

// A set that others look into does not change with its successors.
func TestSetsAreImmutable(t *testing.T) {
	var s *Set
	var sets []*Set
	var targets []Target
	for i := range 200 {
		text := fmt.Sprintf("10.0.%d.0/24", i)
		if i%4 == 1 {
			text = fmt.Sprintf("agent=a%d", i)
		} else if i%4 == 2 {
			text = fmt.Sprintf("tenant=t%d", i)
		}
		at, err := ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, at)
		s = s.with(FromFile(at, Block, "r", time.Now().Add(time.Hour)))
		sets = append(sets, s)
	}
	for i, at := range targets[:100] {
		s = s.minus(at)
		sets = append(sets, s)
		if got := s.Size(); got != 199-i || len(s.Entries()) != got {
			t.Fatalf("%d entries, listed %d, want %d", got, len(s.Entries()), 199-i)
		}
	}
	for i, old := range sets[:200] {
		for j, at := range targets {
			if got := old.find(at) != nil; got != (j <= i) {
				t.Fatalf("set %d holds target %d: %v", i, j, got)
			}
		}
	}
}

// FuzzGlob compares with regular expressions.
func FuzzGlob(f *testing.F) {
	f.Add("/a/*/b*c", "/a/x/bcc", false)
	f.Add("*SqlMap*", "sqlmap", true)
	f.Add("a*a", "a", false)
	f.Fuzz(func(t *testing.T, target, subject string, fold bool) {
		kind := Path
		if fold {
			kind = Agent
		}
		at, err := NewTarget(kind, target)
		if err != nil || len(subject) > 1000 {
			return
		}
		for i := range len(target) + len(subject) {
			if c := (target + subject)[i]; c >= 0x80 {
				return // the oracle folds more than ASCII
			}
		}
		expr := strings.ReplaceAll(regexp.QuoteMeta(at.Value), `\*`, `.*`)
		if fold {
			if !strings.Contains(at.Value, "*") {
				expr = ".*" + expr + ".*"
			}
			expr = "(?i)" + expr
		}
		want := regexp.MustCompile(`(?s)\A(?:` + expr + `)\z`).MatchString(subject)
		g := newGlob(kind, at.Value)
		text := []byte(subject)
		if fold {
			text = appendLower(nil, subject)
		}
		if got := g.match(text); got != want {
			t.Errorf("%q against %q: got %v, want %v", at.Value, subject, got, want)
		}
	})
}

func fullBook(t testing.TB) *Book {
	b, _ := newBook(t)
	for i := range 10_000 {
		add(t, b, Detected, fmt.Sprintf("198.%d.%d.%d", 18+i%2, i/250, i%250), time.Hour)
	}
	for i := range 16 {
		add(t, b, Banned, fmt.Sprintf("path=/never/%d/*", i), time.Hour)
		add(t, b, Banned, fmt.Sprintf("agent=evil%d", i), time.Hour)
		add(t, b, Banned, fmt.Sprintf("tenant=t%d", i), time.Hour)
	}
	return b
}

var innocent = Caller{Address: netip.MustParseAddr("203.0.113.9"), Path: "/api/items/17", Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"}

func look(b *Book, now time.Time) bool {
	v := NewView(b, nil)
	return v.AllowsAddress(innocent.Address, now) || v.NeedsPlace() || v.Early(&innocent, now) != nil ||
		v.Late(&Identity{Tenant: "acme", Subject: "auth0|7", Route: "/api/*"}, now) != nil
}

// Invariant 5.
func TestLookingAllocatesNothing(t *testing.T) {
	b, now := fullBook(t), time.Now()
	if n := testing.AllocsPerRun(1000, func() { look(b, now) }); n != 0 {
		t.Errorf("looking allocates %v times, want 0", n)
	}
}

func BenchmarkLook(b *testing.B) {
	empty, _ := newBook(b)
	for name, book := range map[string]*Book{"empty": empty, "10000 addresses, 48 switches": fullBook(b)} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if look(book, now) {
					b.Fatal("banned")
				}
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	book := fullBook(b)
	at := Target{Address, "203.0.113.9"}
	until := time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := book.Add(Entry{Target: at, List: Detected, Reason: "test", Until: until}); err != nil {
			b.Fatal(err)
		}
	}
}
