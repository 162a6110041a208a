package crs

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	"sluice/internal/testkit/crssuite"
)

// requestOf is a case of the suite as it is inspected.
func requestOf(c *crssuite.Case) *Request {
	return &Request{
		Client: netip.MustParseAddr("192.0.2.1"), Method: c.Method, Target: c.Target, Proto: c.Proto, Host: c.Host, Header: c.Header, Body: c.Body,
	}
}

// engineOf builds each profile once for all tests.
var engineOf = func() func(testing.TB, Profile) *Engine {
	var mu sync.Mutex
	made := make(map[string]*Engine)
	return func(t testing.TB, p Profile) *Engine {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if made[p.Key()] == nil {
			e, err := New(p)
			if err != nil {
				t.Fatal(err)
			}
			made[p.Key()] = e
		}
		return made[p.Key()]
	}
}()

// generous limits let the suite's largest requests through to the rules.
var generous = Limits{Body: 8 << 20, Arguments: 5000, NameLength: 100 << 10, Depth: 1000, Parts: 5000, Work: 1 << 40}

func ids(v Verdict) []int {
	var out []int
	for _, f := range v.Findings {
		out = append(out, f.Rule)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// same fails when the proof changes what the engine reports.
func same(t *testing.T, e *Engine, name string, r *Request) (whole, proved Verdict) {
	t.Helper()
	whole = e.Inspect(r, &Settings{Threshold: 5, Limits: generous, Whole: true})
	proved = e.Inspect(r, &Settings{Threshold: 5, Limits: generous})
	if !slices.Equal(ids(whole), ids(proved)) || whole.Refused != proved.Refused || proved.Engine && whole.Score != proved.Score {
		t.Errorf("%s: the engine alone finds %v (score %d, refused %v), with the proof %v (score %d, refused %v)\n%s %s\n%v\n%q", name,
			ids(whole), whole.Score, whole.Refused, ids(proved), proved.Score, proved.Refused, r.Method, r.Target, r.Header, r.Body[:min(len(r.Body), 300)])
	}
	return whole, proved
}

// Invariant 2, over the rule set's own tests, at every level.
func TestSuiteFindsTheSameWithTheProof(t *testing.T) {
	cases, err := crssuite.Load()
	if err != nil {
		t.Fatal(err)
	}
	for level := 1; level <= 4; level += 3 {
		e := engineOf(t, Profile{Paranoia: level})
		must, detected, ran, refused := 0, 0, 0, 0
		for i := range cases {
			c := &cases[i]
			if testing.Short() && i%10 != 0 {
				continue
			}
			_, v := same(t, e, c.Name, requestOf(c))
			if t.Failed() && testing.Verbose() && i > 3000 {
				t.FailNow()
			}
			if v.Engine {
				ran++
			}
			if v.Refused {
				refused++
			}
			for _, id := range c.Want {
				if r, known := e.rules[id]; !known || !r.finds {
					continue
				}
				must++
				if slices.Contains(ids(v), id) {
					detected++
				}
			}
		}
		t.Logf("paranoia %d: %d requests, the engine ran for %d, %d refused; %d of %d expected rules found (%.2f %%)", level, len(cases), ran, refused, detected, must, 100*float64(detected)/float64(must))
	}
}
