package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/h1"
)

// Server serves HTTP/1.1 to an [http.Handler], and gives HTTP/2 connections to
// net/http. Its fields must not change after the first Serve; the zero value of
// each is a safe default. One Server may serve several listeners. After Shutdown
// or Close it cannot be used again.
type Server struct {
	// Handler answers the requests; nil is http.DefaultServeMux.
	//
	// It must not use the request, its header, its URL or the writer once it has
	// returned: all of them then serve another request. Strings taken out of them may be
	// kept, and so may the body, which answers http.ErrBodyReadAfterClose from then on.
	Handler http.Handler

	// TLSConfig, if not nil, makes Serve speak TLS on every connection. When it
	// names no protocols, h2 and http/1.1 are offered.
	TLSConfig *tls.Config

	// Limits bound what a client can make the server hold.
	Limits h1.Limits

	// HeaderTimeout is how long a connection may take from its begin, or from the first
	// byte of a later request, to the end of the head; it includes the TLS handshake.
	// Default 10 s. Like all time-outs here it is kept by a sweep every 200 ms.
	HeaderTimeout time.Duration

	// IdleTimeout is how long a connection may wait for its next request. Default 75 s.
	IdleTimeout time.Duration

	// BodyRate is how many bytes a second a client must send, on average, of a
	// body that the handler waits for; the first BodyGrace of waiting is free. Default 240;
	// a negative rate asks for nothing but some byte each IdleTimeout. It does not hold in full
	// duplex, nor when the handler has set a read deadline of its own.
	BodyRate int

	// BodyGrace is the waiting for a body that is not measured. Default 10 s.
	BodyGrace time.Duration

	// WriteTimeout is how long one write may wait for a client that does not take
	// its response. Default 60 s. It does not hold when the handler has set a write deadline.
	WriteTimeout time.Duration

	// DrainBytes is how much of a body that the handler left unread is read in order to keep the
	// connection. Default 256 KiB.
	DrainBytes int64

	// BadRequest, if not nil, answers a request that never reaches the handler:
	// a head that is refused (400, 414, 431, 501, 505) or too late (408), and an
	// expectation that cannot be met (417). The connection ends with it.
	// reason is a sentence that quotes nothing of the request, remote the
	// client's address and port.
	BadRequest func(w http.ResponseWriter, remote string, status int, reason string)

	// HTTP2, if not nil, serves the connections that negotiate h2; it must not be used
	// otherwise, and its ConnState is called by way of the Server's own.
	// Default: a server with the same handler, limits and time-outs.
	HTTP2 *http.Server

	// H2C gives plain connections that begin with the HTTP/2 preface to HTTP2 (RFC 9113 §3.3).
	// It is only asked for when HTTP2 is nil or speaks unencrypted HTTP/2.
	H2C bool

	// ErrorLog, if not nil, gets what goes wrong without a request to answer for
	// it: panics, failed handshakes, failing Accepts, misuse of the writer.
	ErrorLog *log.Logger

	// Poison overwrites each request and its header once the handler has
	// returned, so that a test finds whoever kept one.
	Poison bool

	closing atomic.Bool
	start   sync.Once
	ended   chan struct{} // closed by Shutdown and Close
	tls     *tls.Config
	h2      *handover

	date     atomic.Pointer[dateLine]
	registry registry
	sweeping sync.WaitGroup // the sweeper, and h2's Serve

	mu        sync.Mutex // guards listeners, and closing against serving
	listeners []net.Listener
	serving   sync.WaitGroup // calls of Serve
}

// Defaults of the fields of Server.
const (
	DefaultHeaderTimeout = 10 * time.Second
	DefaultIdleTimeout   = 75 * time.Second
	DefaultWriteTimeout  = 60 * time.Second
	DefaultBodyGrace     = 10 * time.Second
	DefaultBodyRate      = 240
	DefaultDrainBytes    = 256 << 10
)

func orDefault[T int | int64 | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// Stats are the connections of a Server at one moment, without those hijacked.
type Stats struct {
	Connections int // open, without those of HTTP/2
	Idle        int // waiting for a request; a connection that has not sent one is idle too
	Active      int // receiving a head or being served
	HTTP2       int // handed over and open
}

func (s *Server) init() {
	s.start.Do(func() {
		s.ended = make(chan struct{})
		s.registry.server = s
		s.registry.last = make(chan struct{}, 1)
		if s.Handler == nil {
			s.Handler = http.DefaultServeMux
		}
		s.HeaderTimeout = orDefault(s.HeaderTimeout, DefaultHeaderTimeout)
		s.IdleTimeout = orDefault(s.IdleTimeout, DefaultIdleTimeout)
		s.WriteTimeout = orDefault(s.WriteTimeout, DefaultWriteTimeout)
		s.BodyGrace = orDefault(s.BodyGrace, DefaultBodyGrace)
		s.BodyRate = orDefault(s.BodyRate, DefaultBodyRate)
		s.DrainBytes = orDefault(s.DrainBytes, DefaultDrainBytes)
		if s.BadRequest == nil {
			s.BadRequest = plainBadRequest
		}
		if s.TLSConfig != nil {
			s.tls = s.TLSConfig.Clone()
			if len(s.tls.NextProtos) == 0 {
				s.tls.NextProtos = []string{"h2", "http/1.1"}
			}
		}
		s.h2 = newHandover(s)
		s.setDate(time.Now())
	})
}

// plainBadRequest answers as net/http does.
func plainBadRequest(w http.ResponseWriter, _ string, status int, reason string) {
	http.Error(w, http.StatusText(status)+": "+reason, status)
}

// Serve accepts connections on l until Shutdown or Close, and then returns
// http.ErrServerClosed; any other error is l's. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	if !s.trackListener(l) {
		_ = l.Close() // nothing was accepted
		return http.ErrServerClosed
	}
	defer s.serving.Done()
	defer s.closeListener(l)
	var pause time.Duration
	for {
		sock, err := l.Accept()
		if err != nil {
			if s.closing.Load() {
				return http.ErrServerClosed
			}
			// Out of file descriptors, for one: the listener is sound, and
			// the connections that hold them will end.
			//lint:ignore SA1019 nothing else says that Accept can succeed again
			if t, ok := errors.AsType[net.Error](err); !ok || !t.Temporary() {
				return err
			}
			pause = min(max(5*time.Millisecond, 2*pause), time.Second)
			s.logf("accept: %v; again in %v", err, pause)
			select {
			case <-time.After(pause):
			case <-s.ended:
			}
			continue
		}
		pause = 0
		c := newConn(s, sock)
		if !s.registry.add(c) {
			_ = sock.Close() // Close was called
			return http.ErrServerClosed
		}
		go c.serve()
	}
}

func (s *Server) trackListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners = append(s.listeners, l)
	s.serving.Add(1)
	return true
}

func (s *Server) closeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.listeners, l); i >= 0 {
		s.listeners = slices.Delete(s.listeners, i, i+1)
		_ = l.Close() // its Serve has returned with the reason
	}
}

// end stops accepting. It reports whether this was the first call.
func (s *Server) end() (first bool) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Swap(true) {
		return false
	}
	close(s.ended)
	for _, l := range s.listeners {
		_ = l.Close() // Serve sees why
	}
	s.listeners = nil
	return true
}

// Shutdown stops accepting, closes the connections that are idle and waits
// until the others have answered their request (with Connection: close) and are gone;
// hijacked connections are not waited for. A connection that nothing has come on yet,
// or that came to rest without being told to close, has a second from then on, because a
// request may be on its way.
// When ctx ends first, its error is returned and the connections stay.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end()
	s.serving.Wait() // what they have accepted is served
	h2 := make(chan error, 1)
	go func() { h2 <- s.h2.shutdown(ctx) }()
	err := s.registry.drain(ctx)
	if h2Err := <-h2; err == nil {
		err = h2Err
	}
	if err == nil {
		s.sweeping.Wait()
	}
	return err
}

// Close stops accepting and closes every connection, whatever it is doing; hijacked
// ones are not touched. It does not wait for handlers.
func (s *Server) Close() error {
	s.end()
	err := s.h2.close()
	s.registry.closeAll()
	return err
}

// Stats counts the connections.
func (s *Server) Stats() Stats {
	s.init()
	stats := s.registry.stats()
	stats.HTTP2 = int(s.h2.open.Load())
	return stats
}

func (s *Server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf("front: "+format, args...)
	}
}
