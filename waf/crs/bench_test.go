package crs

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// benchRequests are the shapes of the comparison.
func benchRequests() []struct {
	name string
	r    *Request
} {
	head := http.Header{
		"Accept": {"application/json"}, "User-Agent": {"python-httpx/0.27.0"}, "Accept-Encoding": {"gzip, deflate, br"},
		"Authorization": {"Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhdXRoMHwxMjMifQ.c2lnbmF0dXJl"},
	}
	get := func(target string) *Request {
		return &Request{Client: netip.MustParseAddr("192.0.2.1"), Method: "GET", Target: target, Proto: "HTTP/1.1", Host: "api.example.com", Header: head}
	}
	post := func(contentType, body string) *Request {
		r := get("/api/items")
		r.Method, r.Body = "POST", []byte(body)
		r.Header = head.Clone()
		r.Header["Content-Type"] = []string{contentType}
		r.Header["Content-Length"] = []string{fmt.Sprint(len(body))}
		return r
	}
	item := func(i int) string {
		return fmt.Sprintf(`{"id":%d,"name":"Garden chair %d","description":"A comfortable chair from recycled wood, with a seat cover and arm rests. Order before noon and it's with you on Friday.","created_at":"2026-03-0%dT08:30:00Z","owner_id":"6f1c7a52-9d0e-4b1c-8f8e-2a6d3c1b0a%02d","price":%d.50,"tags":["garden","new in","outdoor & home"],"in_stock":true}`, i, i, i%9+1, i%90+10, i)
	}
	items := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, item(i))
		}
		return `{"items":[` + strings.Join(list, ",") + `]}`
	}
	form := func(size int) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, "field_%d=The+order+of+customer+%d+from+the+shop+in+Bern+was+sent+today&", i, i)
		}
		return strings.TrimSuffix(b.String(), "&")
	}
	var mp strings.Builder
	mp.WriteString("--XyZ\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHoliday pictures\r\n--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"beach.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n")
	mp.WriteString(strings.Repeat("\xff\xd8binary data of a picture", 4000))
	mp.WriteString("\r\n--XyZ--\r\n")
	return []struct {
		name string
		r    *Request
	}{
		{"GET", get("/api/items/42")},
		{"GET-10-args", get("/api/items?page=3&per_page=50&sort=created_at&order=desc&q=garden+chair&category=outdoor&min_price=10&max_price=250&in_stock=true&fields=id,name,price")},
		{"JSON-1KB", post("application/json", items(3))},
		{"JSON-10KB", post("application/json", items(27))},
		{"text-10KB-in-JSON", post("application/json", `{"note":"`+strings.Repeat("The order from the shop was sent today, and it's good; we select new chairs & tables. ", 118)+`"}`)},
		{"form-100KB", post("application/x-www-form-urlencoded", form(100<<10))},
		{"multipart-100KB", post("multipart/form-data; boundary=XyZ", mp.String())},
		{"attack", get("/api/items?q=1%27%20UNION%20SELECT%20password%20FROM%20users--")},
	}
}

func BenchmarkInspect(b *testing.B) {
	e := engineOf(b, Profile{Paranoia: 1})
	limits := DefaultLimits
	limits.Arguments = 5000
	for _, c := range benchRequests() {
		for _, way := range []string{"stock", "ours"} {
			b.Run(c.name+"/"+way, func(b *testing.B) {
				b.ReportAllocs()
				set := &Settings{Threshold: 5, Limits: limits, Whole: way == "stock"}
				v := e.Inspect(c.r, set)
				for b.Loop() {
					e.Inspect(c.r, set)
				}
				if v.Refused != (c.name == "attack") {
					b.Errorf("verdict %+v", v)
				}
				if v.Engine && way == "ours" {
					b.ReportMetric(1, "engine")
				}
			})
		}
	}
}

// BenchmarkUnseen measures values that were never seen before, which the memory
// cannot help with.
func BenchmarkUnseen(b *testing.B) {
	e := engineOf(b, Profile{Paranoia: 1})
	set := &Settings{Threshold: 5, Limits: DefaultLimits}
	for _, c := range benchRequests()[:5] {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n++
				r := *c.r
				mark := fmt.Sprintf("%07d", n)
				r.Target = strings.ReplaceAll(r.Target, "a", "a"+mark)
				r.Body = []byte(strings.ReplaceAll(string(r.Body), `:"`, `:"`+mark))
				if e.Inspect(&r, set).Refused {
					b.Fatal("refused")
				}
			}
		})
	}
}
