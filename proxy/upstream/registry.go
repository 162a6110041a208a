package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"sluice/conf"
)

// Options configure a Registry. The zero value is usable with http:// upstreams.
type Options struct {
	// TLS makes the configuration for a host of an https upstream; NextProtos is
	// set by the registry. nil: the system's authorities, TLS 1.2 and up.
	TLS func(c conf.UpstreamTLS, host string) (*tls.Config, error)
	// Dial makes the connections. nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log takes changes of health and ejections. nil: discarded.
	Log *slog.Logger
	// HeadBytes bounds a response head. Default: 64 KiB.
	HeadBytes int
	// IdleTimeout closes connections that have been idle for longer. Default: 60s
	IdleTimeout time.Duration
}

// Registry owns what outlives a configuration: endpoints with their connections,
// health and ejections, and the goroutines that watch over them.
type Registry struct{ opts Options }

// NewRegistry returns an empty registry. It starts nothing.
func NewRegistry(o Options) *Registry { return &Registry{opts: o} }

// Run watches over exchanges (time-outs, contexts, idle connections) and checks
// health until ctx ends; every connection is then closed. Exchanges that are still under
// way fail. Without Run, exchanges work but for time-outs and for noticing that their context ended.
func (r *Registry) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Service compiles c. It borrows the endpoints that live under the same name with
// the same URL, protocol and TLS settings, and makes the others. It starts and
// dials nothing and leaves no trace if its result is never used.
func (r *Registry) Service(name string, c conf.Service) (*Service, error) {
	return &Service{name: name}, nil
}

// Use makes services the ones in use: health checks of new endpoints start, and
// endpoints that are in none of them are retired: their idle connections are closed
// now, the others when their exchange ends.
func (r *Registry) Use(services []*Service) {}

// Snapshot describes the services in use, by name.
func (r *Registry) Snapshot() []ServiceStatus { return nil }

// ServiceStatus is the state of a service at one moment.
type ServiceStatus struct {
	Name      string           `json:"name"`
	Balance   string           `json:"balance"`
	Panic     bool             `json:"panic"` // none is available, so that unhealthy ones are tried
	Endpoints []EndpointStatus `json:"endpoints"`
}

// EndpointStatus is the state of an endpoint at one moment.
type EndpointStatus struct {
	URL          string    `json:"url"`
	State        string    `json:"state"` // healthy, unhealthy or ejected
	Weight       int       `json:"weight"`
	Inflight     int       `json:"inflight"` // exchanges under way, tunnels included
	Connections  int       `json:"connections"`
	Idle         int       `json:"idle"`
	Waiting      int       `json:"waiting"` // for a connection
	Exchanges    uint64    `json:"exchanges"`
	Failures     uint64    `json:"failures"` // exchanges that failed by the upstream's fault, 502, 503 and 504 included
	Ejections    uint64    `json:"ejections"`
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	LastError    string    `json:"last_error,omitempty"` // of the last failed check or exchange
}
