package crs

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.yaml.in/yaml/v3"
)

// suiteCase is one request of the rule set's regression tests.
type suiteCase struct {
	name   string
	rule   int
	want   []int // ids that must be among the findings
	reject []int // ids that must not be
	r      Request
}

// suite reads the rule set's own regression tests for requests.
var suite = sync.OnceValues(func() ([]suiteCase, error) {
	var out []suiteCase
	err := fs.WalkDir(crstests.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".yaml") || strings.HasPrefix(name, "RESPONSE") {
			return err
		}
		text, err := fs.ReadFile(crstests.FS, name)
		if err != nil {
			return err
		}
		var file struct {
			RuleID int `yaml:"rule_id"`
			Tests  []struct {
				ID     int `yaml:"test_id"`
				Stages []struct {
					Input struct {
						Method  string
						URI     string
						Version string
						Headers map[string]string
						Data    string
						Encoded string `yaml:"encoded_request"`
						Auto    *bool  `yaml:"autocomplete_headers"`
					}
					Output struct {
						Log struct {
							Expect []int `yaml:"expect_ids"`
							Reject []int `yaml:"no_expect_ids"`
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return err
		}
		for _, test := range file.Tests {
			for i, st := range test.Stages {
				in := st.Input
				c := suiteCase{rule: file.RuleID, want: st.Output.Log.Expect, reject: st.Output.Log.Reject}
				c.name = name + "#" + string(rune('0'+test.ID%10)) + "." + string(rune('0'+i))
				c.r = Request{Client: netip.MustParseAddr("192.0.2.1"), Method: in.Method, Target: in.URI, Proto: in.Version, Header: http.Header{}, Body: []byte(in.Data)}
				if c.r.Method == "" {
					c.r.Method = "GET"
				}
				if c.r.Target == "" {
					c.r.Target = "/"
				}
				if c.r.Proto == "" {
					c.r.Proto = "HTTP/1.1"
				}
				for k, v := range in.Headers {
					if strings.EqualFold(k, "host") {
						c.r.Host = v
					} else {
						c.r.Header[http.CanonicalHeaderKey(k)] = append(c.r.Header[http.CanonicalHeaderKey(k)], v)
					}
				}
				if in.Encoded != "" {
					raw, err := base64.StdEncoding.DecodeString(in.Encoded)
					if err != nil {
						continue
					}
					hr, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
					if err != nil {
						continue // no server would take it
					}
					var body bytes.Buffer
					if _, err := body.ReadFrom(hr.Body); err != nil {
						continue
					}
					c.r.Method, c.r.Target, c.r.Proto, c.r.Host, c.r.Header, c.r.Body = hr.Method, hr.RequestURI, hr.Proto, hr.Host, hr.Header, body.Bytes()
				} else if in.Auto == nil || *in.Auto {
					if len(c.r.Body) > 0 && c.r.Header["Content-Type"] == nil {
						c.r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
					}
					if len(c.r.Body) > 0 && c.r.Header["Content-Length"] == nil {
						c.r.Header["Content-Length"] = []string{"1"}
					}
				}
				out = append(out, c)
			}
		}
		return nil
	})
	return out, err
})

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
	cases, err := suite()
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
			_, v := same(t, e, c.name, &c.r)
			if t.Failed() && testing.Verbose() && i > 3000 {
				t.FailNow()
			}
			if v.Engine {
				ran++
			}
			if v.Refused {
				refused++
			}
			for _, id := range c.want {
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
