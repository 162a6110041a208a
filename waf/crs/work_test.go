package crs

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// dear are requests made to cost as much as they can.
func dear() []struct {
	name string
	r    *Request
} {
	req := func(contentType, target, body string) *Request {
		r := &Request{
			Client: netip.MustParseAddr("192.0.2.1"), Method: "POST", Target: target, Proto: "HTTP/1.1", Host: "api.example.com",
			Header: http.Header{"Accept": {"*/*"}, "User-Agent": {"x"}, "Content-Type": {contentType}, "Content-Length": {fmt.Sprint(len(body))}}, Body: []byte(body),
		}
		return r
	}
	value := func(v string) *Request { return req("application/json", "/", `{"note":"`+v+`"}`) }
	fill := func(s string, n int) string { return strings.Repeat(s, n/len(s)+1)[:n] }
	const size = 10 << 10
	var args, mixed []string
	for i := range 900 {
		args = append(args, fmt.Sprintf("a%d=select%d+from%d", i, i, i))
		mixed = append(mixed, fmt.Sprintf("a%d=%d%%27+or+x%d+select+from+union+%%3Cb+onload", i, i, i))
	}
	return []struct {
		name string
		r    *Request
	}{
		{"prose", value(fill("The order from the shop was sent today, and it's good; we select new chairs & tables. ", size))},
		{"keywords", value(fill("select from union insert into where having group by order exec script javascript: onload= ", size))},
		{"quotes", value(fill("' '' ; -- /* */ # ( ) = ", size))},
		{"markup", value(fill("< b <i a=b c='d' > &lt; ", size))},
		{"entities", value(fill("%u0041%41+&#65;&lt;u0041x41", size))},
		{"unicode", value(fill("Größe ſ K 日本語 ", size))},
		{"dollar", value(fill("$ab{ $(x [y ", size))},
		{"paths", value(fill("/etc/../../x ;cat a|b ", size))},
		{"slashes", value(fill("/", size))},
		{"dots", value(fill("..", size))},
		{"base64", value(fill("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", size))},
		{"urls", value(fill("http://user:a@b.example/x?y=z#", size))},
		{"attacks", value(fill("1' UNION SELECT password FROM users-- <script>alert(1)</script> ; cat /etc/passwd ${jndi:ldap://x} ", size))},
		{"args", req("application/x-www-form-urlencoded", "/", strings.Join(args, "&"))},
		{"args-mixed", req("application/x-www-form-urlencoded", "/", strings.Join(mixed, "&"))},
		{"prose-1MB", value(fill("The order from the shop was sent today, and it's good; we select new chairs & tables. ", 1<<20-100))},
		{"text-100KB", req("text/plain", "/", fill("The order from the shop was sent today = and it's good & we select. ", 100<<10))},
		{"attacks-100KB", value(fill("1' UNION SELECT password FROM users-- <script>alert(1)</script> ; cat /etc/passwd ${jndi:ldap://x} ", 100<<10))},
		{"broken-json", req("application/json", "/", `{"note":"`+fill("1' UNION SELECT password FROM users-- ", 200<<10))},
		{"broken-json-small", req("application/json", "/", `{"note":"`+fill("1' UNION SELECT password FROM users-- ", 5<<10))},
		{"broken-xml", req("application/xml", "/", "<a><b>"+fill("select from union ' or 1 </b>", 20<<10))},
		{"broken-multipart", req("multipart/form-data; boundary=x", "/", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"+fill("select from union ' or 1 </b>", 20<<10))},
		{"multipart-prose", req("multipart/form-data; boundary=x", "/", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"+fill("select from union ' or 1 </b>", 20<<10)+"\r\n--x--\r\n")},
		{"deep-names", req("application/json", "/", "{\""+fill("a", 500)+"\":["+strings.TrimSuffix(strings.Repeat("1,", 900), ",")+"]}")},
		{"target", req("application/json", "/"+fill("a%20select%27union+or/", 7000)+"?"+fill("a=%27select%20", 7000), "{}")},
		{"target-bad", req("application/json", "/"+fill("a%zzselect%27union+or/", 7000), "{}")},
		{"headers", func() *Request {
			r := req("application/json", "/", "{}")
			for i := range 90 {
				r.Header[fmt.Sprintf("X-A%d", i)] = []string{fmt.Sprintf("%d' union select <script> ", i) + fill("or 1=1 ; cat /etc/passwd ", 300)}
			}
			return r
		}()},
		{"cookies", func() *Request {
			r := req("application/json", "/", "{}")
			r.Header["Cookie"] = []string{fill("a=' union select <script> or 1=1; ", 8000)}
			return r
		}()},
		{"xml-100KB", req("application/xml", "/", "<a>"+fill("<b c='d'>select from union ' or 1 </b>", 37*2700)+"</a>")},
		{"xml", req("application/xml", "/", "<a>"+fill("<b c='d'>select from union ' or 1 </b>", 37*270)+"</a>")},
	}
}

// BenchmarkDear measures what requests cost that were made to cost much, and
// what a unit of work is: limits count units.
func BenchmarkDear(b *testing.B) {
	e := engineOf(b, Profile{Paranoia: 1})
	set := &Settings{Threshold: 5, Limits: DefaultLimits}
	for _, c := range dear() {
		b.Run(c.name, func(b *testing.B) {
			work, ran := 0, 0.0
			e.Inspect(c.r, set)
			for b.Loop() {
				in := e.scans.Get().(*inspection)
				if in.inspect(c.r, set).Engine {
					ran++
				}
				work += max(in.work, in.scan.Work)
				in.reset()
				e.scans.Put(in)
			}
			b.ReportMetric(float64(work)/float64(b.N), "work")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(work, 1)), "ns/work")
			b.ReportMetric(ran/float64(b.N), "engine")
		})
	}
}

// However a request is made, its work stays within the budget, or it is refused.
func TestWorkIsBounded(t *testing.T) {
	e := engineOf(t, Profile{Paranoia: 1})
	set := &Settings{Threshold: 5, Limits: DefaultLimits}
	refused := 0
	for _, c := range dear() {
		in := e.scans.Get().(*inspection)
		v := in.inspect(c.r, set)
		switch {
		case v.Excess != "":
			refused++
			if !v.Refused || v.Engine {
				t.Errorf("%s is beyond the limit %s: refused %v, engine %v", c.name, v.Excess, v.Refused, v.Engine)
			}
		case in.work > DefaultWork:
			t.Errorf("%s cost %d, more than %d", c.name, in.work, DefaultWork)
		}
		// What was still done when the limit was found is one look at one text.
		if most := DefaultWork + 64*len(c.r.Body); in.scan.Work > most {
			t.Errorf("%s: the proof went on to %d", c.name, in.scan.Work)
		}
		in.reset()
		e.scans.Put(in)
	}
	if refused < 2 {
		t.Errorf("%d of the requests are refused for what they would cost, want some", refused)
	}
}
