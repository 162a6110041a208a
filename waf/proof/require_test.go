package proof

import (
	"io/fs"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"rsc.io/binaryregexp"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"sluice/waf/seclang"
)

// fulfils is the definition of requirements, for tests.
func fulfils(alternatives [][]need, s string) bool {
	lower := strings.Map(func(r rune) rune { return foldASCII(r) }, s)
	for _, needs := range alternatives {
		all := true
		for _, n := range needs {
			ok := false
			for _, l := range n.literals {
				ok = ok || strings.Contains(lower, l)
			}
			for i := range len(s) {
				ok = ok || n.bytes.has(s[i])
			}
			all = all && ok
		}
		if all {
			return true
		}
	}
	return false
}

func TestRequirementsSayWhatIsNeeded(t *testing.T) {
	for pattern, cases := range map[string]struct{ pass, fail []string }{
		`(?i)union.*?select.*?from`: {[]string{"UNION select FROM"}, []string{"union from", "select from"}},
		`a(?:b|c)?d`:                {[]string{"ad", "abd", "acd"}, []string{"aed", "bd"}},
		`(?:foo|ba[rz])\s*\(`:       {[]string{"foo (", "baz("}, []string{"foo", "bar", "(", "ba("}},
		`[;|&]\s*ls`:                {[]string{";ls"}, []string{"ls", "; cat"}},
		`x{3}`:                      {[]string{"xxx"}, []string{"xx"}},
		`(?:ab|[0-9]+c)`:            {[]string{"ab", "1c"}, []string{"", "zzz"}},
	} {
		alternatives, ok := requirements(pattern, false)
		if !ok {
			t.Errorf("%s: nothing is known", pattern)
			continue
		}
		for _, s := range cases.pass {
			if !fulfils(alternatives, s) {
				t.Errorf("%s: %q is excluded", pattern, s)
			}
		}
		for _, s := range cases.fail {
			if fulfils(alternatives, s) {
				t.Errorf("%s: %q is not excluded by %+v", pattern, s, alternatives)
			}
		}
	}
	for _, pattern := range []string{`.*`, `a?`, `(?:a|)`, `[^a]*`, `(`} {
		if alternatives, ok := requirements(pattern, false); ok {
			t.Errorf("%s: claims to need %+v", pattern, alternatives)
		}
	}
}

// sample makes a text that the pattern matches, mostly.
func sample(r *rand.Rand, re *syntax.Regexp, b *strings.Builder) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && r.IntN(2) == 0 {
				b.WriteString(strings.ToLower(string(c)))
			} else {
				b.WriteRune(c)
			}
		}
	case syntax.OpCharClass:
		i := 2 * r.IntN(len(re.Rune)/2)
		lo, hi := re.Rune[i], re.Rune[i+1]
		b.WriteRune(lo + rune(r.IntN(int(min(hi-lo, 300)+1))))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(byte(' ' + r.IntN(95)))
	case syntax.OpCapture, syntax.OpConcat:
		for _, s := range re.Sub {
			sample(r, s, b)
		}
	case syntax.OpAlternate:
		sample(r, re.Sub[r.IntN(len(re.Sub))], b)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		lo, hi := 0, 3
		switch re.Op {
		case syntax.OpPlus:
			lo = 1
		case syntax.OpQuest:
			hi = 1
		case syntax.OpRepeat:
			lo, hi = re.Min, re.Min+2
			if re.Max >= 0 {
				hi = min(hi, re.Max)
			}
		}
		for range lo + r.IntN(hi-lo+1) {
			sample(r, re.Sub[0], b)
		}
	}
}

// latin1 writes characters as single bytes.
func latin1(s string) string {
	var b []byte
	for _, c := range s {
		b = append(b, byte(c))
	}
	return string(b)
}

// Texts made from each pattern of the rule set, which match it, fulfil its
// requirements.
func TestMatchesOfTheRuleSetFulfilTheirRequirements(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names, err := fs.Glob(coreruleset.FS, "@owasp_crs/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	patterns, known, matched := 0, 0, 0
	for _, name := range names {
		file, err := fs.ReadFile(coreruleset.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		ds, err := seclang.Split(name, string(file))
		if err != nil {
			t.Fatal(err)
		}
		rules, err := seclang.Rules(ds)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			for _, link := range rule.Links() {
				if link.Op.Name != "rx" {
					continue
				}
				pattern := "(?sm)" + link.Op.Arg
				re, err := syntax.Parse(pattern, syntax.Perl)
				if err != nil {
					continue
				}
				patterns++
				bytewise := highEscape.MatchString(link.Op.Arg)
				alternatives, ok := requirements(pattern, bytewise)
				if !ok {
					continue
				}
				known++
				compiled := regexp.MustCompile(pattern)
				byBytes := binaryregexp.MustCompile("a^b") // nothing
				if bytewise {
					byBytes = binaryregexp.MustCompile(link.Op.Arg)
				}
				for range 60 {
					var b strings.Builder
					b.WriteString("xy ")
					sample(r, re, &b)
					s := b.String()
					if bytewise && r.IntN(2) == 0 {
						s = latin1(s)
					}
					if foldHazard(s) || !compiled.MatchString(s) && !byBytes.MatchString(s) {
						continue
					}
					matched++
					if !fulfils(alternatives, s) {
						t.Errorf("rule %d matches %q, which its requirements exclude", rule.ID, s)
					}
				}
			}
		}
	}
	t.Logf("%d patterns, something is required by %d; %d texts that match", patterns, known, matched)
	if patterns < 250 || known < patterns*8/10 || matched < 20*known {
		t.Errorf("%d patterns, %d known, %d texts: the sample is too thin to mean anything", patterns, known, matched)
	}
}

func TestAutomatonFindsEveryLiteral(t *testing.T) {
	words := []string{"he", "she", "his", "hers", "a", "\xc3\xa4", "select", "lect"}
	var literals []literal
	for i, w := range words {
		literals = append(literals, literal{w, uint16(i)})
	}
	a, err := newAutomaton(literals)
	if err != nil {
		t.Fatal(err)
	}
	check := func(s string) {
		seen := make([]uint64, 1)
		found := a.scan(s, seen, nil)
		lower := []byte(s)
		for i, c := range lower {
			lower[i] = byte(foldASCII(rune(c)))
			if c >= 0x80 {
				lower[i] = c
			}
		}
		want := uint64(0)
		for i, w := range words {
			if strings.Contains(string(lower), w) {
				want |= 1 << i
			}
		}
		got := uint64(0)
		for _, m := range found {
			got |= 1 << m
		}
		if got != want || seen[0] != want {
			t.Errorf("%q: found %b, seen %b, want %b", s, got, seen[0], want)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		b := make([]byte, r.IntN(20))
		for i := range b {
			b[i] = "hHesSrialct\xc3\xa4x"[r.IntN(13)]
		}
		check(string(b))
	}
}
