package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/conf"
)

// grpcLike echoes messages as they come and ends with a status in the trailer.
func grpcLike(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("X-Proto", r.Proto)
	w.Header().Set("X-Te", r.Header.Get("Te"))
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Target", r.RequestURI)
	w.Header().Set("X-Set", strings.Join(r.Header["X-Set"], ","))
	w.(http.Flusher).Flush()
	buf := make([]byte, 100)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			w.Write(buf[:n])
			w.(http.Flusher).Flush()
		}
		if err != nil {
			break
		}
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}

func h2cServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func h2Server(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestGRPCOverHTTP2(t *testing.T) {
	secure := h2Server(t, grpcLike)
	for name, c := range map[string]struct{ url, protocol string }{
		"h2c":  {h2cServer(t, grpcLike), "h2c"},
		"alpn": {secure.URL, "auto"},
	} {
		t.Run(name, func(t *testing.T) {
			r := running(t, Options{TLS: trust(secure)})
			e, err := use(t, r, conf.Service{Protocol: c.protocol}, c.url+"/base").Pick(0, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				body := newSlowBody()
				out := post(body, -1)
				out.Target = "/pkg.Service/Method?a=%2F"
				out.Header = http.Header{"Te": {"trailers"}, "X-Set": {"client"}, "Connection": {"x-gone"}, "X-Gone": {"1"}}
				out.Set = []Field{{"X-Set", "a"}, {"X-Set", "b"}}
				out.Interrupt = body.interrupt
				out.Deadline = time.Now().Add(10 * time.Second)
				in := new(Response)
				if err := e.Do(context.Background(), out, in); err != nil {
					t.Fatal(err)
				}
				h := in.Header
				if h.Get("X-Proto") != "HTTP/2.0" || h.Get("X-Te") != "trailers" || h.Get("X-Host") != "client.example" ||
					h.Get("X-Target") != "/base/pkg.Service/Method?a=%2F" || h.Get("X-Set") != "a,b" {
					t.Errorf("header: %v", h)
				}
				buf := make([]byte, 100)
				for _, word := range []string{"one", "two"} {
					body.pieces <- word
					if n, err := in.Read(buf); string(buf[:n]) != word || err != nil {
						t.Fatalf("got %q, %v", buf[:n], err)
					}
				}
				close(body.pieces)
				if _, err := in.Read(buf); err != io.EOF {
					t.Errorf("end: %v", err)
				}
				if in.Trailer.Get("Grpc-Status") != "0" {
					t.Errorf("trailer: %v", in.Trailer)
				}
				in.Close()
			}
			quiet(t, e)
		})
	}
}

func TestHTTP2Bodies(t *testing.T) {
	e, err := use(t, running(t, Options{}), conf.Service{Protocol: "h2c"}, h2cServer(t, echo)).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 5, holdMost + 1, 300000} {
		body := strings.Repeat("b", size)
		for _, length := range []int64{int64(size), -1} {
			if _, got := fetch(t, e, post(strings.NewReader(body), length)); got != "POST "+body {
				t.Errorf("%d bytes: got %d", size, len(got)-5)
			}
		}
	}
	out := get("/")
	out.Method = "HEAD"
	if in, body := fetch(t, e, out); in.BodyLength != 0 || body != "" {
		t.Errorf("HEAD: %d %q", in.BodyLength, body)
	}
}

func TestHTTP2Failures(t *testing.T) {
	const short = 60 * time.Millisecond
	gone := errors.New("the client went away")
	url := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/abort":
			w.Write([]byte("begin"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/early":
			w.WriteHeader(413)
		case "/drain":
			io.Copy(io.Discard, r.Body)
		}
	})
	e, err := use(t, running(t, Options{}), conf.Service{Protocol: "h2c"}, url).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		target string
		change func(*Request)
		kind   Kind
	}{
		"header":   {"/silent", func(r *Request) { r.Timeouts.Header = short }, HeaderTimeout},
		"deadline": {"/silent", func(r *Request) { r.Deadline = time.Now().Add(short) }, Timeout},
		"abort":    {"/abort", func(r *Request) {}, Reset},
		"early": {"/early", func(r *Request) {
			b := newSlowBody()
			r.Method, r.Body, r.BodyLength, r.Interrupt = "POST", b, -1, b.interrupt
		}, 0},
		"client's body": {"/drain", func(r *Request) {
			r.Method, r.BodyLength = "POST", -1
			r.Body = readerFunc(func([]byte) (int, error) { return 0, gone })
		}, ClientBody},
	} {
		t.Run(name, func(t *testing.T) {
			out := get(c.target)
			c.change(out)
			_, err := exchange(e, out, new(Response))
			if kindOf(err) != c.kind {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			eventually(t, "no watch is left", func() bool { return e.watches.len() == 0 && e.inflight() == 0 })
		})
	}
	dead, err := use(t, running(t, Options{}), conf.Service{Protocol: "h2c"}, "http://127.0.0.1:1").Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(dead, get("/"), new(Response)); kindOf(err) != Connect {
		t.Errorf("got %v, want connect", err)
	}
}

func TestUpgradeAvoidsHTTP2(t *testing.T) {
	s := h2Server(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+r.Header.Get("Upgrade"))
	})
	e, err := use(t, running(t, Options{TLS: trust(s)}), conf.Service{}, s.URL).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, body := fetch(t, e, get("/")); body != "HTTP/2.0 " {
			t.Errorf("got %q", body)
		}
		if _, body := fetch(t, e, upgrade()); body != "HTTP/1.1 websocket" {
			t.Errorf("got %q", body)
		}
	}
}
