// Package crssuite reads the Core Rule Set's own regression tests: requests, and
// the rules that have to match them. It is for tests.
package crssuite

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.yaml.in/yaml/v3"
)

// Case is one request of the suite.
type Case struct {
	Name   string
	Rule   int
	Want   []int // rules that must be among those that match
	Reject []int // rules that must not

	Method, Target, Proto, Host string
	Header                      http.Header // without Host
	Body                        []byte

	raw []byte // the request as the suite has it, when it has it whole
}

// Wire is the request as it is sent.
func (c *Case) Wire() []byte {
	if c.raw != nil {
		return c.raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", c.Method, c.Target, c.Proto)
	if c.Host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", c.Host)
	}
	names := make([]string, 0, len(c.Header))
	for n := range c.Header {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		for _, v := range c.Header[n] {
			if n == "Content-Length" && c.Header["Transfer-Encoding"] == nil && len(c.Body) > 0 {
				v = strconv.Itoa(len(c.Body))
			}
			fmt.Fprintf(&b, "%s: %s\r\n", n, v)
		}
	}
	b.WriteString("\r\n")
	b.Write(c.Body)
	return b.Bytes()
}

// file is a file of the suite, as far as it is used.
type file struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []stage
	}
}

type stage struct {
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

// Load reads the suite's requests, once. Tests about responses, and requests
// that no server would read, are not among them.
var Load = sync.OnceValues(func() ([]Case, error) {
	var out []Case
	err := fs.WalkDir(crstests.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".yaml") || strings.HasPrefix(name, "RESPONSE") {
			return err
		}
		text, err := fs.ReadFile(crstests.FS, name)
		if err != nil {
			return err
		}
		var f file
		if err := yaml.Unmarshal(text, &f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, test := range f.Tests {
			for i := range test.Stages {
				st := &test.Stages[i]
				c := Case{Rule: f.RuleID, Want: st.Output.Log.Expect, Reject: st.Output.Log.Reject, Name: fmt.Sprintf("%s#%d.%d", name, test.ID, i)}
				if c.read(st) {
					out = append(out, c)
				}
			}
		}
		return nil
	})
	return out, err
})

// read takes over a stage; false: no server would read its request.
func (c *Case) read(st *stage) bool {
	in := &st.Input
	if in.Encoded != "" {
		raw, err := base64.StdEncoding.DecodeString(in.Encoded)
		if err != nil {
			return false
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return false
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil {
			return false
		}
		c.raw, c.Method, c.Target, c.Proto, c.Host, c.Header, c.Body = raw, r.Method, r.RequestURI, r.Proto, r.Host, r.Header, body.Bytes()
		return true
	}
	c.Method, c.Target, c.Proto = or(in.Method, "GET"), or(in.URI, "/"), or(in.Version, "HTTP/1.1")
	c.Header, c.Body = http.Header{}, []byte(in.Data)
	for k, v := range in.Headers {
		if strings.EqualFold(k, "host") {
			c.Host = v
		} else {
			k = http.CanonicalHeaderKey(k)
			c.Header[k] = append(c.Header[k], v)
		}
	}
	if len(c.Body) > 0 && (in.Auto == nil || *in.Auto) {
		if c.Header["Content-Type"] == nil {
			c.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
		}
		if c.Header["Content-Length"] == nil {
			c.Header["Content-Length"] = []string{strconv.Itoa(len(c.Body))}
		}
	}
	return true
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Raw reports whether the suite gives the bytes of the request.
func (c *Case) Raw() bool { return c.raw != nil }
