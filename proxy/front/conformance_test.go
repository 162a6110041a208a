package front

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
)

// conformance are exchanges that must look the same on both engines: to the
// client, and to the handler. n.note says what the handler sees.
var conformance = []struct {
	name    string
	input   string
	methods string // of the responses to read, separated by spaces
	handler func(n *notebook, w http.ResponseWriter, r *http.Request)
}{
	{"nothing written", get, "GET", func(*notebook, http.ResponseWriter, *http.Request) {}},
	{"a body", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
	{"a body of bytes in pieces", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = w.Write([]byte("<p>hello"))
		}
	}},
	{"status", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }},
	{"own status", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) }},
	{"204", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(204)
		_, err := w.Write([]byte("x"))
		n.note("%v", err)
	}},
	{"304", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Etag", `"a"`)
		w.WriteHeader(304)
		_, err := io.WriteString(w, "x")
		n.note("%v", err)
	}},
	{"HEAD without a word", head, "HEAD", func(*notebook, http.ResponseWriter, *http.Request) {}},
	{"HEAD with a small body", head, "HEAD", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
	{"HEAD with a large body", head, "HEAD", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			n, err := w.Write(make([]byte, 5000))
			if n != 5000 || err != nil {
				panic(err)
			}
		}
	}},
	{"HEAD with a declared length", head, "HEAD", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "123456")
	}},
	{"HEAD with a declared length and a body", head, "HEAD", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "hello")
	}},
	{"HEAD flushed", head, "HEAD", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "hello")
	}},
	{"large body", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("0123456789", 10_000))
	}},
	{"large body of many writes", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		for range 20_000 {
			_, _ = io.WriteString(w, "0123456789")
		}
	}},
	{"declared length", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "01234")
		_, _ = io.WriteString(w, "56789")
	}},
	{"large declared length", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		for range 1000 {
			_, _ = w.Write(make([]byte, 100))
		}
	}},
	{"less than declared", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
	}},
	{"more than declared", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		k, err := io.WriteString(w, "0123456789")
		n.note("%d %v %v", k, err, errors.Is(err, http.ErrContentLength))
		k, err = io.WriteString(w, "01234")
		n.note("%d %v", k, err)
	}},
	{"identity", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = io.WriteString(w, "until the end")
	}},
	{"chunked by the handler", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		_, _ = io.WriteString(w, "chunk")
	}},
	{"no date, no type", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	}},
	{"own date", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "once") }},
	{"type of an encoded body", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "<html>")
	}},
	{"type guessed over two writes", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<ht")
		_, _ = io.WriteString(w, "ml>")
	}},
	{"many values", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header()["x-small"] = []string{"c"}
		w.Header()["Empty"] = []string{""}
	}},
	{"splitting", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "b\r\nX-C: d")
		w.Header()["X-E: f\r\nX-G"] = []string{"h"}
		w.Header()["X I"] = []string{"j"}
	}},
	{"header changed after WriteHeader", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "sent")
		w.WriteHeader(200)
		w.Header().Set("X-A", "late")
		w.Header().Set("X-B", "late")
	}},
	{"header changed after Write", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-B", "late")
	}},
	{"WriteHeader twice", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(201)
		w.WriteHeader(500)
	}},
	{"flush in between", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		n.note("%v", http.NewResponseController(w).Flush())
		_, _ = io.WriteString(w, "b")
		w.(http.Flusher).Flush()
		w.(http.Flusher).Flush()
	}},
	{"flush with a declared length", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "b")
	}},
	{"announced trailer", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Missing, Content-Length")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "1")
		w.Header().Add("X-Sum", "2")
	}},
	{"unannounced trailer", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	}},
	{"ReadFrom small", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		k, err := io.Copy(w, io.LimitReader(zeroes{}, 100))
		n.note("%d %v", k, err)
	}},
	{"ReadFrom large", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		k, err := io.Copy(w, io.LimitReader(zeroes{}, 1<<20))
		n.note("%d %v", k, err)
	}},
	{"ReadFrom large of declared length", get, "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		k, err := io.Copy(w, io.LimitReader(zeroes{}, 1<<20))
		n.note("%d %v", k, err)
	}},
	{"close by the handler", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }},
	{"keep-alive by the handler", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "keep-alive")
	}},
	{"close by the client", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET", echo},
	{"close by the client against the handler", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "keep-alive") }},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET", echo},
	{"HTTP/1.0 kept alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET", echo},
	{"HTTP/1.0 HEAD kept alive", "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HEAD", echo},
	{"HTTP/1.0 of unknown length", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "b")
		}},
	{"HTTP/1.0 with a declared length", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1")
			w.Header().Set("Connection", "keep-alive")
			_, _ = io.WriteString(w, "a")
		}},
	{"HTTP/1.0 304", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},

	{"everything of a request", "GET /a%20b/c;d?x=1&y%20z HTTP/1.1\r\nHost: A.example:80\r\nX-a: 1\r\nx-A: 2\r\nCookie: a=b\r\nPragma: no-cache\r\n\r\n", "GET", echo},
	{"raw path", "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"strange path", "GET /!(a)'*/$|{b}?c?d HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"forced query", "GET /a? HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"two slashes", "GET //a//b HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"absolute-form", "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"absolute-form without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", echo},
	{"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", echo},
	{"empty line first", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST GET", echo},
	{"pipelined", get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcHEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		"GET GET POST HEAD GET", echo},

	{"body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST", echo},
	{"body of length zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST", echo},
	{"body without a length", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST", echo},
	{"chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", "POST", echo},
	{"body with a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n", "POST", echo},
	{"Trailer without chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTrailer: X-Sum\r\n\r\nx", "POST", echo},
	{"large body up", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000), "POST",
		func(n *notebook, _ http.ResponseWriter, r *http.Request) {
			k, err := io.Copy(io.Discard, r.Body)
			n.note("%d %v", k, err)
		}},
	{"unread small body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
	{"unread body of 200 KB", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200_000), "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
	{"unread chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
	{"unread malformed body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n", "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
	{"unread body too large to drain", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000), "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }},
	{"half a body read", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(n *notebook, _ http.ResponseWriter, r *http.Request) {
			b := make([]byte, 3)
			_, err := io.ReadFull(r.Body, b)
			n.note("%s %v", b, err)
		}},
	{"body closed and read", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(n *notebook, _ http.ResponseWriter, r *http.Request) {
			n.note("%v", r.Body.Close())
			_, err := r.Body.Read(make([]byte, 1))
			n.note("%v", err)
			n.note("%v", r.Body.Close())
		}},
	{"body read after the response has begun", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(n *notebook, w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			b, err := io.ReadAll(r.Body)
			n.note("%q %v", b, err)
		}},
	{"body read before the response is sent", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(n *notebook, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "1")
			_, _ = io.WriteString(w, "x")
			b, err := io.ReadAll(r.Body)
			n.note("%q %v", b, err)
		}},
	{"full duplex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST",
		func(n *notebook, w http.ResponseWriter, r *http.Request) {
			n.note("%v", http.NewResponseController(w).EnableFullDuplex())
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			b, err := io.ReadAll(r.Body)
			n.note("%q %v", b, err)
		}},
	{"100-continue read", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", "POST POST", echo},
	{"100-continue by the handler", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello", "POST POST",
		func(n *notebook, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(100)
			echo(n, w, r)
		}},
	{"100-continue unread", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", "POST",
		func(_ *notebook, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }},
	{"100-continue of nothing", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", "POST", echo},
	{"100-continue in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello", "POST", echo},
	{"early hints", get, "GET GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.Header().Set("X-Final", "1")
		_, _ = io.WriteString(w, "x")
	}},
	{"switching protocols", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "x")
		w.WriteHeader(101)
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_ = c.Close()
	}},
	{"hijack", get + "early", "GET", func(n *notebook, w http.ResponseWriter, _ *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		b := make([]byte, 5)
		_, err = io.ReadFull(rw, b)
		n.note("%q %v", b, err)
		_, err = w.Write([]byte("x"))
		n.note("%v", err)
		_, _, err = w.(http.Hijacker).Hijack()
		n.note("%v", err)
		_, _ = rw.WriteString("HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
		_ = rw.Flush()
		_ = c.Close()
	}},
	{"abort", get, "GET", func(*notebook, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"abort after a write", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		panic(http.ErrAbortHandler)
	}},
	{"abort after a flush", get, "GET", func(_ *notebook, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{"panic", get, "GET", func(*notebook, http.ResponseWriter, *http.Request) { panic("a panic of the test") }},
	{"path values are forgotten", get + get, "GET GET", func(n *notebook, _ http.ResponseWriter, r *http.Request) {
		n.note("%q", r.PathValue("x"))
		r.SetPathValue("x", "y")
		r.Pattern = "z"
		r.Header.Set("X-Left", "over")
	}},
}

// zeroes is an endless source without other methods.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// echo notes the request and answers with its body.
func echo(n *notebook, w http.ResponseWriter, r *http.Request) {
	n.note("%s", describe(r))
	b, err := io.ReadAll(r.Body)
	n.note("body %q %v trailer %v", b, err, r.Trailer)
	_, _ = w.Write(b)
}

func TestFrontIsLikeNetHTTP(t *testing.T) {
	for _, tt := range conformance {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var outcomes [2]outcome
			for i, e := range engines {
				var n notebook
				h := func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/after" {
						n.note("%s", describe(r))
						return
					}
					tt.handler(&n, w, r)
				}
				outcomes[i] = exchangeRaw(t, e.run(t, http.HandlerFunc(h), options{}).addr, tt.input, strings.Fields(tt.methods)...)
				outcomes[i].Seen = n.all()
			}
			if diff := cmp.Diff(outcomes[1], outcomes[0], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-net/http +front):\n%s", diff)
			}
		})
	}
}
