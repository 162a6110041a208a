package front

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// refused are requests that must not reach a handler. lenient says that net/http
// serves them; everything else it refuses too.
var refused = []struct {
	name, input string
	status      int
	lenient     bool
}{
	{"garbage", "\x16\x03\x01\x02\r\n\r\n", 400, false},
	{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400, true},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400, false},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\x00c\r\n\r\n", 400, false},
	{"folded field", "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400, true},
	{"space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, false},
	{"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, false},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, false},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, false},
	{"malformed Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, false},
	{"Host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, true},
	{"Host against the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, true},
	{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, false},
	{"one length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, true},
	{"length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400, false},
	{"signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400, false},
	{"length and chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, false},
	{"chunked not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, false},
	{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, false},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
	{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501, true},
	{"GET *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, true},
	{"fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400, true},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, true},
	{"HTTP/3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, false},
	{"HTTP/0.9", "GET /\r\n\r\n", 400, false},
	{"long target", "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, false},
	{"large header", "GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("b", 100_000) + "\r\n\r\n", 431, false},
	{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", 431, true},
	{"expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417, false},
	{"expectation with a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: more\r\n\r\nx", 417, false},
}

func TestRefusals(t *testing.T) {
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, e engine) {
				r := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}), options{maxHead: 64 << 10})
				// Whatever comes behind a request that is refused must not be taken for one.
				o := exchangeRaw(t, r.addr, tt.input+get, "GET")
				if len(o.Answers) != 1 || o.Answers[0].Err != "" {
					t.Fatalf("got %+v", o)
				}
				status, isFront := o.Answers[0].Status, e.name == "front"
				switch {
				case isFront && !strings.HasPrefix(status, strconv.Itoa(tt.status)+" "):
					t.Errorf("status %q, want %d", status, tt.status)
				case !tt.lenient && status[0] != '4' && status[0] != '5':
					t.Errorf("status %q, want a refusal", status)
				case tt.lenient && !isFront && status[0] == '4':
					t.Errorf("net/http refuses it too, with %q", status)
				}
				if isFront && (o.Kept || !o.Answers[0].Close) {
					t.Errorf("the connection goes on: %+v", o)
				}
			})
		})
	}
}

func TestBadRequestIsTheCallersToWrite(t *testing.T) {
	s := &Server{
		Handler: http.NotFoundHandler(),
		BadRequest: func(w http.ResponseWriter, remote string, status int, reason string) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"detail":"`+reason+`"}`)
		},
	}
	o := exchangeRaw(t, start(t, s).addr, "GET / HTTP/1.1\r\n\r\n", "GET")
	if len(o.Answers) != 1 || o.Answers[0].Body != `{"detail":"the Host header field is missing"}` || !o.Answers[0].Close {
		t.Errorf("got %+v", o)
	}
}

func TestBadRequestMayPanic(t *testing.T) {
	s := &Server{Handler: http.NotFoundHandler(), BadRequest: func(http.ResponseWriter, string, int, string) { panic("of the test") }}
	r := start(t, s)
	if o := exchangeRaw(t, r.addr, "GET / HTTP/1.1\r\n\r\n", "GET"); o.Answers[0].Err != "ended" {
		t.Errorf("got %+v", o)
	}
	if o := exchangeRaw(t, r.addr, get, "GET"); o.Answers[0].Status != "404 Not Found" {
		t.Errorf("after the panic: %+v", o)
	}
}

// A chunked body that turns out malformed ends the connection, whatever the handler makes of it.
func TestMalformedBodyEndsTheConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			w.Header().Set("X-Error", map[bool]string{true: "none", false: "some"}[err == nil])
		}), options{})
		const post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, body := range []string{"5\r\nhello!\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "-1\r\n", "0\r\nA: b\r\n c\x00\r\n\r\n", "fffffffffffffffff\r\n"} {
			o := exchangeRaw(t, r.addr, post+body+get, "POST")
			if o.Kept || len(o.Answers) != 1 || !strings.Contains(strings.Join(o.Answers[0].Header, "\n"), "X-Error: some") {
				t.Errorf("%q: %+v", body, o)
			}
		}
	})
}

// What is refused leaves the connections beside it alone.
func TestRefusalLeavesOthersAlone(t *testing.T) {
	r := runFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }), options{})
	c := r.dial(t)
	br := bufio.NewReader(c)
	for range 3 {
		_, _ = io.WriteString(c, "GET /mine HTTP/1.1\r\nHost: a\r\n\r\n")
		if a, err := readAnswer(br, "GET"); err != nil || a.Body != "/mine" {
			t.Fatalf("got %+v, %v", a, err)
		}
		exchangeRaw(t, r.addr, "GET / HTTP/9.9\r\n\r\n", "GET")
	}
}
