package proxy

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
)

// maxHeaderBytesSlack is what net/http reads beyond MaxHeaderBytes before it
// refuses, so that the limit is the operator's number and not more.
const maxHeaderBytesSlack = 4 << 10

// newEngine makes the server of o, by its settings.
func (l *Listeners) newEngine(o *listening) engine {
	s := &http.Server{
		Handler:           l.gateway.Handler(o.conf.Address),
		ReadHeaderTimeout: o.conf.Timeout.Header.Std(),
		IdleTimeout:       o.conf.Timeout.Idle.Std(),
		MaxHeaderBytes:    max(1, int(o.conf.MaxHeader)-maxHeaderBytesSlack),
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			o.connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			o.connections.Add(-1)
		}
	}
	if o.conf.TLS == nil {
		return s
	}
	s.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Every handshake takes the configuration in force, so that a reload
		// needs no new server.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return o.tls.Load(), nil },
		NextProtos:         []string{"h2", "http/1.1"},
	}
	return overTLS{s}
}

// overTLS serves TLS by the server's own configuration.
type overTLS struct{ *http.Server }

func (s overTLS) Serve(l net.Listener) error { return s.ServeTLS(l, "", "") }
