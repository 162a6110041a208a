package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"sluice/loadtest/compare/responder"
)

// This program also is two of the processes that it starts: the upstream, and
// the proxy that a few lines of Go make.
const (
	responderCommand    = "responder"
	reverseProxyCommand = "reverseproxy"
)

// What is asked for.
const (
	smallPath, smallSize = "/json", 1 << 10
	largePath, largeSize = "/large", 100 << 10
)

// bodies are the upstream's answers: JSON of exactly the size.
func bodies() map[string][]byte {
	sized := func(size int) []byte {
		const frame = `{"data":""}`
		return []byte(`{"data":"` + strings.Repeat("sluice ", size/7+1)[:size-len(frame)] + `"}`)
	}
	return map[string][]byte{smallPath: sized(smallSize), largePath: sized(largeSize)}
}

// runResponder serves the upstream on args[0] until it is told to stop.
func runResponder(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("responder: want an address")
	}
	s, err := responder.Listen(args[0], bodies())
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// runReverseProxy proxies args[0] to the upstream args[1] with the standard
// library, as a Go programmer would do it at first.
func runReverseProxy(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("reverseproxy: want an address and an upstream")
	}
	upstream := &url.URL{Scheme: "http", Host: args[1]}
	server := &http.Server{Addr: args[0], Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}}
	defer context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // ListenAndServe says that it was closed
	})()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
