package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// idle measures what a connection costs that does nothing: keep-alive
// connections between requests, and WebSockets between messages.
func idle(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("idle", flag.ContinueOnError)
	conns := f.Int("connections", 10_000, "idle keep-alive `connections`")
	sockets := f.Int("websockets", 1_000, "`WebSockets`")
	only := f.String("only", "sluice-plain,sluice-full", "`names` of the rows to measure, separated by commas")
	doc := f.String("doc", "", "put the table between the idle marks of this Markdown `file`")
	var machine machineOptions
	machine.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, unknown := choose(contestants, *only)
	if len(unknown) > 0 {
		return fmt.Errorf("idle: no such rows: %s", strings.Join(unknown, ", "))
	}
	r, err := newRig(ctx, chosen, machine)
	if err != nil {
		return err
	}
	defer r.close()
	echo := httptest.NewUnstartedServer(http.HandlerFunc(echoMessages))
	echo.Start()
	defer echo.Close()
	responder := r.upstream

	var table strings.Builder
	out := io.MultiWriter(os.Stdout, &table)
	fmt.Fprintln(out, "| proxy | idle connections | KiB each | WebSockets | KiB each | round trip p50 | p99 |\n| --- | --- | --- | --- | --- | --- | --- |")
	for _, c := range chosen {
		if c.program == "" {
			continue
		}
		r.upstream = responder
		kept, err := r.measureIdle(ctx, c, *conns)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(out, "| %s | %d | %.1f |", c.label, *conns, kept)
		if c.noTunnels {
			fmt.Fprintln(out, " – | – | – | – |")
			continue
		}
		r.upstream = strings.TrimPrefix(echo.URL, "http://")
		tunnels, err := r.measureSockets(ctx, c, *sockets)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(out, " %d | %.1f | %v | %v |\n", *sockets, tunnels.each, tunnels.p50, tunnels.p99)
	}
	return replaceInDocument(*doc, "idle", table.String())
}

// measureIdle returns the KiB of resident memory that one of n kept-alive
// connections costs after it has served a request.
func (r *rig) measureIdle(ctx context.Context, c contestant, n int) (float64, error) {
	run, err := r.start(ctx, c)
	if err != nil {
		return 0, err
	}
	defer run.process.Stop(5 * time.Second)
	open := make([]net.Conn, 0, n)
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	request := "GET " + smallPath + " HTTP/1.1\r\nHost: " + run.site.Address + "\r\nAuthorization: Bearer " + run.tokens[0] + "\r\n\r\n"
	buf := make([]byte, 8<<10)
	use := func(conn net.Conn) error {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		for got := 0; got < smallSize; { // the head makes it more than the body's size
			k, err := conn.Read(buf)
			if err != nil {
				return err
			}
			if got == 0 && !strings.HasPrefix(string(buf[:k]), "HTTP/1.1 200 ") {
				return fmt.Errorf("answered %q", tail(buf[:min(k, 100)], 100))
			}
			got += k
		}
		return nil
	}
	dial := func() error {
		conn, err := net.Dial("tcp", run.site.Address)
		if err != nil {
			return err
		}
		open = append(open, conn)
		return use(conn)
	}
	// The first hundred pay for what exists once: pools, upstream connections.
	const first = 100
	for len(open) < min(first, n) {
		if err := dial(); err != nil {
			return 0, err
		}
	}
	before, err := run.settled(ctx)
	if err != nil {
		return 0, err
	}
	for len(open) < n+first {
		if err := dial(); err != nil {
			return 0, fmt.Errorf("connection %d: %w", len(open), err)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	after, err := run.settled(ctx)
	if err != nil {
		return 0, err
	}
	// Idle means alive: the first and the last still answer.
	if err := errors.Join(use(open[0]), use(open[len(open)-1])); err != nil {
		return 0, err
	}
	return float64(after-before) / float64(n) / 1024, nil
}

// settled returns the resident bytes of a contestant at rest. A Go program's
// resident memory holds what its collector has not yet returned, so sluice is
// asked to collect first; the others are what they are.
func (run *running) settled(ctx context.Context) (int64, error) {
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if run.program == "sluice" {
		for range 2 { // pools give up what they hold at the second
			if _, err := run.adminGet(ctx, "/debug/pprof/heap?gc=1"); err != nil {
				return 0, err
			}
		}
	}
	u, err := run.process.Usage()
	return u.RSS, err
}

// tunnels is what WebSockets through a proxy cost.
type tunnels struct {
	each     float64 // KiB
	p50, p99 time.Duration
}

// measureSockets opens n WebSockets to the echo upstream and has each send ten messages.
func (r *rig) measureSockets(ctx context.Context, c contestant, n int) (t tunnels, err error) {
	run, err := r.start(ctx, c)
	if err != nil {
		return t, err
	}
	defer run.process.Stop(5 * time.Second)
	before, err := run.settled(ctx)
	if err != nil {
		return t, err
	}
	sockets := make([]*websocket.Conn, n)
	defer func() {
		for _, s := range sockets {
			if s != nil {
				_ = s.CloseNow()
			}
		}
	}()
	header := http.Header{"Authorization": {"Bearer " + run.tokens[0]}}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range sockets {
		group.Go(func() (err error) {
			sockets[i], _, err = websocket.Dial(gctx, "ws://"+run.site.Address+"/echo", &websocket.DialOptions{HTTPHeader: header})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return t, err
	}
	after, err := run.settled(ctx)
	if err != nil {
		return t, err
	}
	t.each = float64(after-before) / float64(n) / 1024

	var mu sync.Mutex // guards times
	var times []time.Duration
	group, gctx = errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, s := range sockets {
		group.Go(func() error {
			for k := range 10 {
				message := fmt.Sprintf("message %d of socket %d", k, i)
				begin := time.Now()
				if err := s.Write(gctx, websocket.MessageText, []byte(message)); err != nil {
					return err
				}
				_, echoed, err := s.Read(gctx)
				took := time.Since(begin)
				if err != nil || string(echoed) != message {
					return fmt.Errorf("sent %q, got %q, %w", message, echoed, err)
				}
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return t, err
	}
	slices.Sort(times)
	t.p50, t.p99 = times[len(times)/2].Round(time.Microsecond), times[len(times)*99/100].Round(time.Microsecond)
	return t, nil
}

// echoMessages is the upstream of the WebSockets.
func echoMessages(w http.ResponseWriter, req *http.Request) {
	s, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer s.CloseNow()
	for {
		kind, message, err := s.Read(req.Context())
		if err != nil || s.Write(req.Context(), kind, message) != nil {
			return
		}
	}
}
