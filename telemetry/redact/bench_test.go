package redact

import (
	"math/rand/v2"
	"testing"
)

// body of about a kilobyte: an order, with a card and an address in it.
const benchJSON = `{"order":{"id":"01JDCN3K5T8V7XQ2M4B6A9WZ0E","status":"ORDER_CREATED","createdAt":"2024-11-02T10:11:12Z","currency":"EUR","total":1284.5,` +
	`"customer":{"name":"Anna Example","email":"anna@example.com","phone":"+49 30 1234567","address":{"street":"Baker Street 221B","city":"London","zip":"NW1 6XE"}},` +
	`"payment":{"method":"card","number":"4111 1111 1111 1111","cvv":"123","holder":"ANNA EXAMPLE"},"items":[` +
	`{"sku":"SKU-ABC-12345","title":"Blue widget, large","quantity":2,"price":199.99,"url":"https://www.example.com/products/blue-widget"},` +
	`{"sku":"SKU-DEF-54321","title":"Red widget, small","quantity":1,"price":84.52,"url":"https://www.example.com/products/red-widget"},` +
	`{"sku":"SKU-GHI-99999","title":"Green widget with a rather long description of what it can do for you and why you want it","quantity":10,"price":80.0}],` +
	`"notes":"Please ring twice. Leave it with the neighbour if nobody is at home.","auth":{"token":"abc","scheme":"bearer"},"flags":[true,false,null]}}`

const benchText = "2024-11-02 10:11:12 INFO order 4711 created by anna@example.com from 203.0.113.7: payment with card 4111 1111 1111 1111 was accepted\n" +
	"2024-11-02 10:11:13 WARN the upstream answered 503 after 1200 ms, trying again in 2 s; 3 tries are left\n" +
	"2024-11-02 10:11:14 ERROR cannot connect to postgres://app:s3cr3t@db.internal:5432/orders: connection refused\n"

func BenchmarkRedact(b *testing.B) {
	r := mustNew(b, Options{})
	hash := mustNew(b, Options{Mode: Hash})
	form := "order=4711&email=anna%40example.com&password=hunter2&note=please+ring+twice&street=Baker+Street+221B&city=London&page=2&sort=asc"
	for _, c := range []struct {
		name string
		in   string
		f    func(dst, src []byte) []byte
	}{
		{"JSON", benchJSON, r.JSON},
		{"JSONHash", benchJSON, hash.JSON},
		{"Text", benchText, r.Text},
		{"Form", form, r.Query},
		{"PathPlain", "/api/v1/items/42/reviews", r.Path},
		{"PathSecret", "/api/v1/users/anna@example.com/reviews", r.Path},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			src := []byte(c.in)
			dst := make([]byte, 0, 2*len(src)+1024)
			for b.Loop() {
				dst = c.f(dst[:0], src)
			}
			b.SetBytes(int64(len(src)))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(float64(len(src))/1024), "ns/KiB")
		})
	}
}

func TestRedactAllocatesNothing(t *testing.T) {
	if raceEnabled {
		return // sync.Pool drops items at random under the race detector
	}
	r := mustNew(t, Options{})
	hash := mustNew(t, Options{Mode: Hash})
	dst := make([]byte, 0, 1<<20)
	body, text, query := []byte(benchJSON), []byte(benchText), []byte("a=b%40c.de&password=x%20y")
	path, value := []byte("/users/bob%40example.com/4111111111111111"), []byte("Bearer abcdef")
	for name, f := range map[string]func(){
		"json":   func() { dst = r.JSON(dst[:0], body) },
		"hash":   func() { dst = hash.JSON(dst[:0], body) },
		"text":   func() { dst = r.Text(dst[:0], text) },
		"query":  func() { dst = r.Query(dst[:0], query) },
		"path":   func() { dst = r.Path(dst[:0], path) },
		"header": func() { dst = r.Header(dst[:0], "Authorization", value) },
	} {
		if n := testing.AllocsPerRun(200, f); n >= 1 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{benchText, "4111 1111 1111 1111", "a@b.de", testJWT, "::1", "+(", "password=", `"password":"\"`, "DE89 3704", "Bearer ", "://u:p@h"} {
		f.Add(s)
	}
	r := mustNew(f, Options{})
	c := corpus{rand.New(rand.NewPCG(1, 2))}
	f.Fuzz(func(t *testing.T, s string) {
		r.Text(nil, []byte(s))
		r.Path(nil, []byte(s))
		r.URL(nil, []byte(s))
		secret := c.cardNumber()
		// Whatever is before and behind, in words of its own.
		got := string(r.Text(nil, []byte(s+"\n"+secret+"\n"+s)))
		if contains(got, secret) && !contains(s, secret) {
			t.Errorf("%q is left in %q", secret, got)
		}
	})
}

func FuzzBodies(f *testing.F) {
	f.Add(benchJSON, uint8(7), uint8(0))
	f.Add(`{"a":"\u00e9\ud83d`, uint8(1), uint8(0))
	f.Add("a=%zz&b", uint8(2), uint8(1))
	f.Add("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--b--", uint8(3), uint8(2))
	f.Add(benchText, uint8(5), uint8(3))
	r := mustNew(f, Options{})
	kinds := []string{"application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"}
	f.Fuzz(func(t *testing.T, body string, piece, kind uint8) {
		k := kinds[int(kind)%len(kinds)]
		whole := string(r.Body(nil, k, []byte(body)))
		s := r.Stream(k, 1<<30)
		for rest := body; rest != ""; {
			n := min(int(piece)+1, len(rest))
			s.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		got, size, _ := s.Finish(true)
		if size != int64(len(body)) {
			t.Errorf("size %d of %d", size, len(body))
		}
		// Text is redacted line by line as it comes; a value in quotes that spans
		// lines is seen as a whole only when it comes as one.
		if k != "text/plain" && k != "application/json" && len(body) < maxUnit && string(got) != whole {
			t.Errorf("in pieces of %d:\n%q\nat once:\n%q", piece+1, got, whole)
		}
		s.Release()
		if k == "application/json" && valid(body) && !valid(whole) {
			t.Errorf("no JSON any more:\n%s\n%s", body, whole)
		}
	})
}
