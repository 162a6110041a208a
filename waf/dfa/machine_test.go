package dfa

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// expressions that ask of every part of the machine.
var expressions = []string{
	``, `a`, `^a`, `a$`, `^$`, `(?m)^a$`, `(?s).`, `.`, `\bfoo\b`, `\Bfoo`, `(?i)kelvin\b`, `(?i)s`, `[^a]`, `[\x{80}-\x{10ffff}]`, `\x{fffd}`,
	`(?:ab|cd)+e{2,5}$`, `(?sm)^.*x$`, `a*?b`, `(a|b)*abb`, `\A\z`, `(?i)union\s+(?:all\s+)?select`, `(?sm)(?:^|[^\\])\\[cdeghijklmpqwxyz123456789]`,
	`[a-c]{0,9}d`, `a.{20}b`, `(?i)[[:alpha:]ſ]+K`, `$`, `^`, `\b`, `\B`, `x^`, `$x`, `(?m)x$\n^y`, `[é-ü]+\b`, `é|\bü`,
}

func TestMatchesAsPackageRegexpDoes(t *testing.T) {
	parts := []string{"a", "b", "c", "d", "e", "x", "y", "foo", "\n", " ", "\\", "K", "\u212a", "ſ", "s", "é", "\xff", "\xe2\x84", "\ufffd", "union ", "select", "Kelvin", "_", "9", "-"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, pattern := range expressions {
		m, err := Compile(pattern)
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		re := regexp.MustCompile(pattern)
		for range 3000 {
			var b strings.Builder
			for range rnd.IntN(12) {
				b.WriteString(parts[rnd.IntN(len(parts))])
			}
			s := b.String()
			got, extra := m.Match(s)
			if want := re.MatchString(s); got != want || extra != 0 {
				t.Fatalf("%q on %q: %v (extra %d), package regexp says %v", pattern, s, got, extra, want)
			}
		}
	}
}

func TestAnExpressionThatIsNoneIsAnError(t *testing.T) {
	for _, pattern := range []string{`(`, `a{2000}`, `\8`} {
		if _, err := Compile(pattern); err == nil {
			t.Errorf("%q was compiled", pattern)
		}
	}
}

// Invariant 2: a text that asks for ever new states is matched by package
// regexp, the states stay within their memory, and the machine is as quick for
// others as before.
func TestAHostileTextFillsNoMemory(t *testing.T) {
	m, err := Compile(`[ab]*a[ab]{18}c`) // up to 2^19 states
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for range 6_000 {
		b.WriteByte("ab"[rnd.IntN(2)])
	}
	hostile := b.String()
	most := func(n int) int { return (maxBuilt+1)*buildPrice + n*(buildPrice/bytesPerState+slowness) }
	if matched, extra := m.Match(hostile[:2000]); matched || extra > most(2000) {
		t.Errorf("the first text: matched %v, extra %d", matched, extra)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if matched, extra := m.Match(hostile); matched || extra < len(hostile)*slowness || extra > most(len(hostile)) {
				t.Errorf("the hostile text: matched %v, extra %d", matched, extra)
			}
			for i := range len(hostile) - 64 { // each alone is short enough to be let build
				if matched, _ := m.Match(hostile[i : i+64]); matched {
					t.Error("a part of it matched")
				}
			}
		})
	}
	group.Wait()
	c := m.cache.Load()
	largest := 0
	for _, st := range c.states {
		largest = max(largest, 8*len(st.next)+8*len(st.places)+128)
	}
	if c.bytes > maxBytes+largest {
		t.Errorf("%d bytes of states, want at most %d and one state", c.bytes, maxBytes)
	}
	if matched, extra := m.Match(strings.Repeat("xyz", 1000) + "a" + strings.Repeat("b", 18) + "c"); !matched || extra > 30*buildPrice {
		t.Errorf("an ordinary text: matched %v, extra %d", matched, extra)
	}
}

func TestMatchAllocatesNothingWhenWarm(t *testing.T) {
	m, err := Compile(`(?i)\bunion\s+select\b`)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("the union of a select few ", 40)
	m.Match(text)
	if n := testing.AllocsPerRun(100, func() { m.Match(text) }); n != 0 {
		t.Errorf("Match allocates %v times, want 0", n)
	}
}

// Invariant 1.
func FuzzMatch(f *testing.F) {
	for _, e := range expressions {
		f.Add(e, "a\nfoo K\xffé")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 {
			return
		}
		re, err := regexp.Compile(pattern)
		m, err2 := Compile(pattern)
		if err != nil && err2 == nil {
			t.Fatalf("%q is no expression, and was compiled", pattern)
		}
		if err2 != nil {
			return
		}
		got, _ := m.Match(text)
		if want := re.MatchString(text); got != want {
			t.Fatalf("%q on %q: %v, package regexp says %v", pattern, text, got, want)
		}
		got, _ = m.Match(text + text) // now with states that are there
		if want := re.MatchString(text + text); got != want {
			t.Fatalf("%q on %q: %v, package regexp says %v", pattern, text+text, got, want)
		}
	})
}

// BenchmarkBuild measures states that are built again and again.
func BenchmarkBuild(b *testing.B) {
	m, err := Compile(`(?i)\b(?:union\s+(?:all\s+|distinct\s+)?select|select\s.{1,80}\sinto)\b`)
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("the union of select few ", 4)
	built := 0
	for b.Loop() {
		m.cache.Store(m.newCache(true))
		_, extra := m.Match(text)
		built += extra / buildPrice
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(built), "ns/state")
}

func BenchmarkMatch(b *testing.B) {
	const pattern = `(?i)\b(?:union\s+(?:all\s+|distinct\s+)?select|select\s.{1,80}\sinto)\b`
	text := strings.Repeat("The order from the shop was sent today, and it's good; we select new chairs. ", 13)
	m, err := Compile(pattern)
	if err != nil {
		b.Fatal(err)
	}
	re := regexp.MustCompile(pattern)
	b.Run("machine", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			m.Match(text)
		}
	})
	b.Run("regexp", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			re.MatchString(text)
		}
	})
}
