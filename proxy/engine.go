package proxy

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sluice/internal/problem"
	"sluice/proxy/front"
	"sluice/proxy/h1"
	"sluice/telemetry"
)

// newEngine makes the server of o, by its settings.
func (l *Listeners) newEngine(o *listening) engine {
	o.at = l.gateway.endpoint(o.conf.Address)
	if o.conf.Engine == "nethttp" {
		return l.newNetHTTP(o)
	}
	e := &frontEngine{
		Server: front.Server{
			Handler:       o.at,
			Limits:        h1.Limits{HeadBytes: int(o.conf.MaxHeader)},
			HeaderTimeout: o.conf.Timeout.Header.Std(),
			IdleTimeout:   o.conf.Timeout.Idle.Std(),
			BadRequest:    l.gateway.answerUnread,
			H2C:           o.conf.TLS == nil,
			ErrorLog:      slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		},
	}
	if o.conf.TLS != nil {
		e.TLSConfig = o.tlsConfig()
	}
	return e
}

// frontEngine serves HTTP/1.1 with our own front, and HTTP/2 with net/http.
type frontEngine struct{ front.Server }

func (e *frontEngine) connections() int64 { return int64(e.Stats().Connections) }

// tlsConfig takes the configuration in force at every handshake, so that a
// reload needs no new server.
func (o *listening) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return o.tls.Load(), nil },
		NextProtos:         []string{"h2", "http/1.1"},
	}
}

// maxHeaderBytesSlack is what net/http reads beyond MaxHeaderBytes before it
// refuses, so that the limit is the operator's number and not more.
const maxHeaderBytesSlack = 4 << 10

// netHTTPEngine serves everything with net/http.
type netHTTPEngine struct {
	*http.Server
	open *gauge
	tls  bool
}

func (l *Listeners) newNetHTTP(o *listening) engine {
	e := &netHTTPEngine{open: new(gauge), tls: o.conf.TLS != nil}
	e.Server = &http.Server{
		Handler:           o.at,
		ReadHeaderTimeout: o.conf.Timeout.Header.Std(),
		IdleTimeout:       o.conf.Timeout.Idle.Std(),
		MaxHeaderBytes:    max(1, int(o.conf.MaxHeader)-maxHeaderBytesSlack),
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		ConnState:         e.open.observe,
		Protocols:         new(http.Protocols),
	}
	e.Protocols.SetHTTP1(true)
	if e.tls {
		e.TLSConfig = o.tlsConfig()
		e.Protocols.SetHTTP2(true)
	} else {
		e.Protocols.SetUnencryptedHTTP2(true)
	}
	return e
}

func (e *netHTTPEngine) Serve(l net.Listener) error {
	if e.tls {
		return e.ServeTLS(l, "", "")
	}
	return e.Server.Serve(l)
}

func (e *netHTTPEngine) connections() int64 { return e.open.Load() }

// unreadCodes are the refusals of requests that never become one: status, and
// the word for it.
var unreadCodes = map[int]code{
	http.StatusBadRequest:                  codeBadRequest,
	http.StatusRequestTimeout:              codeClientTimeout,
	http.StatusRequestURITooLong:           codeHeaderTooLarge,
	http.StatusRequestHeaderFieldsTooLarge: codeHeaderTooLarge,
	http.StatusExpectationFailed:           codeBadRequest,
	http.StatusNotImplemented:              codeBadRequest,
	http.StatusHTTPVersionNotSupported:     codeBadRequest,
}

// answerUnread answers for a request whose head the front refused: it has no
// route and no tenant, but an account as every other.
func (g *Gateway) answerUnread(w http.ResponseWriter, remote string, status int, reason string) {
	now := time.Now()
	c, known := unreadCodes[status]
	if !known {
		c = codeBadRequest
	}
	row := &refusals[c]
	rec := telemetry.Record{
		Time: now, RequestID: telemetry.NewRequestID(now), Protocol: "HTTP/1.1", Client: parsePeer(remote),
		Status: status, Origin: row.word, Error: reason,
	}
	w.Header().Set("X-Request-ID", rec.RequestID)
	p := problem.Problem{Type: problem.DocsURL + row.word, Title: row.title, Status: status, Detail: reason, RequestID: rec.RequestID}
	rec.BytesOut = int64(p.Write(w, false))
	g.deps.AccessLog.Write(&rec)
	g.deps.Metrics.Observe(&telemetry.Observation{Status: status})
}
