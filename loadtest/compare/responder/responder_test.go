package responder

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// serve starts a server with a small and a large body and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	s, err := Listen("127.0.0.1:0", map[string][]byte{"/small": []byte(`{"a":1}`), "/large": bytes.Repeat([]byte("x"), 4<<20)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return s.Addr()
}

func TestAnswersByPath(t *testing.T) {
	base := "http://" + serve(t)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		path         string
		status, size int
	}{
		{"/small", 200, 7},
		{"/large", 200, 4 << 20}, // more than the socket takes at once
		{"/small", 200, 7},
		{"/other", 404, 0},
	} {
		res, err := client.Get(base + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || len(body) != c.size {
			t.Errorf("GET %s: %d, %d bytes, %v; want %d, %d bytes", c.path, res.StatusCode, len(body), err, c.status, c.size)
		}
	}
}

func TestPipelinedAndSplitRequests(t *testing.T) {
	nc, err := net.Dial("tcp", serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	one := "GET /small HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, piece := range []string{one + one + one[:9], one[9:22], one[22:]} {
		if _, err := io.WriteString(nc, piece); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(nc)
	for i := range 3 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("response %d: %v", i, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != `{"a":1}` {
			t.Errorf("response %d: %q, %v", i, body, err)
		}
	}
}

func TestEndlessHeadIsCutOff(t *testing.T) {
	nc, err := net.Dial("tcp", serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	go io.Copy(nc, strings.NewReader("GET / HTTP/1.1\r\nA: "+strings.Repeat("a", 1<<20)))
	if n, _ := io.Copy(io.Discard, nc); n != 0 {
		t.Errorf("got %d bytes, want the connection closed", n)
	}
}
