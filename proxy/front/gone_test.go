package front

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// untilCanceled is a handler that waits for its request to be cancelled.
func untilCanceled(entered chan<- struct{}, ended chan<- error) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		entered <- struct{}{}
		select {
		case <-r.Context().Done():
			ended <- r.Context().Err()
		case <-time.After(10 * time.Second):
			ended <- nil
		}
	}
}

func TestRequestIsCanceledWhenItsClientGoes(t *testing.T) {
	t.Parallel()
	leave := map[string]func(*net.TCPConn){
		"close":      func(c *net.TCPConn) { _ = c.Close() },
		"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"half-close": func(c *net.TCPConn) { _ = c.CloseWrite() },
	}
	for how, gone := range leave {
		for what, input := range map[string]string{"get": get, "body": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"} {
			t.Run(how+" "+what, func(t *testing.T) {
				t.Parallel()
				onBoth(t, func(t *testing.T, e engine) {
					entered, ended := make(chan struct{}, 1), make(chan error, 1)
					c := e.run(t, untilCanceled(entered, ended), options{}).dial(t)
					_, _ = io.WriteString(c, input)
					<-entered
					gone(c.(*net.TCPConn))
					if err := <-ended; err != context.Canceled {
						t.Errorf("ended with %v", err)
					}
				})
			})
		}
	}
}

// net/http does not see it behind pipelined input; front does.
func TestClientIsMissedBehindPipelinedInput(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}, 2), make(chan error, 2)
	c := runFront(t, untilCanceled(entered, ended), options{}).dial(t)
	_, _ = io.WriteString(c, get+get)
	<-entered
	_ = c.(*net.TCPConn).CloseWrite()
	if err := <-ended; err != context.Canceled {
		t.Errorf("ended with %v", err)
	}
}

func TestHalfClosedUploadIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		if err := r.Context().Err(); err != nil {
			t.Errorf("cancelled with the body unread: %v", err)
		}
		b, err := io.ReadAll(r.Body)
		if string(b) != "hello" || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
	})}
	c := start(t, s).dial(t)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	_ = c.(*net.TCPConn).CloseWrite()
	time.AfterFunc(3*sweepEvery, func() { close(release) }) // the sweeper has had its looks
	if got := readAll(t, c); got == "" {
		t.Error("no answer")
	}
}

func TestFailedWriteCancelsTheRequest(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, e engine) {
		ended := make(chan error, 1)
		c := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 64<<10))
			}
			<-r.Context().Done()
			ended <- err
		}), options{}).dial(t)
		_, _ = io.WriteString(c, get)
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		if err := <-ended; err == nil {
			t.Error("Write never fails")
		}
	})
}
