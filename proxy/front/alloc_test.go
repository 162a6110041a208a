package front

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A request costs the string of its head. One with a body costs its handle too,
// which is not used again on purpose.
func TestAllocationBudget(t *testing.T) {
	if raceEnabled {
		return
	}
	kind, length := []string{"text/plain"}, []string{"5"}
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
		}
		h := w.Header()
		h["Content-Type"], h["Content-Length"] = kind, length
		_, _ = io.WriteString(w, "hello")
	})}
	s.init()
	s.date.Store(&dateLine{line: []byte("Date: x\r\n")})
	for name, tt := range map[string]struct {
		request string
		budget  float64
	}{
		"GET":  {"GET /a/b?c HTTP/1.1\r\nHost: a\r\nAccept: b\r\nX-Own: c\r\nx-small: d\r\n\r\n", 1},
		"POST": {"POST /a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 3}, // and the array above
	} {
		const requests = 1000
		input := []byte(strings.Repeat(tt.request, requests))
		sock := &memConn{}
		sock.out.Grow(1 << 20)
		perConn := testing.AllocsPerRun(5, func() {
			sock.in.Reset(input)
			sock.out.Reset()
			newConn(s, sock).serve()
		})
		if n := perConn / requests; n > tt.budget+0.1 {
			t.Errorf("%s: %.2f allocations a request, want %v", name, n, tt.budget)
		}
	}
}
