package admin

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"sluice/conf"
	"sluice/internal/problem"
	"sluice/telemetry"
	"sluice/waf/bans"
)

// Deps are the functions that answer for the rest of the process. All are
// needed but Operators.
type Deps struct {
	Token     conf.Secret
	Operators Operators // nil: the bootstrap token alone
	Audit     Audit
	Metrics   io.WriterTo
	Health    *telemetry.Health
	Status    func() any                             // rendered as JSON; must not block
	Config    func() []byte                          // the effective configuration, redacted
	Reload    func(context.Context) (Reloaded, bool) // false: refused, the old one stays in force
	Cluster   Cluster
	Captures  Captures
	Bans      Bans
	Policies  Policies
	FileBans  func() []*bans.Entry // those of the configuration in force
	Live      Live
	Log       *slog.Logger
}

// Server answers the private listener's requests. It is an http.Handler, safe
// for concurrent use.
type Server struct {
	deps     Deps
	token    [sha256.Size]byte
	mux      *http.ServeMux
	routes   []route
	guesses  *guesses
	failures atomic.Uint64
}

// route is one method of one path, and who may use it.
type route struct {
	pattern string
	role    Role // RoleNone: everybody
}

// New returns the handler.
func New(deps Deps) *Server {
	s := &Server{
		deps: deps, token: sha256.Sum256([]byte(deps.Token.Reveal())), mux: http.NewServeMux(),
		guesses: newGuesses(time.Now),
	}
	// One line for each resource; each is in a file of its own.
	s.probeRoutes()
	s.configRoutes()
	s.clusterRoutes()
	s.captureRoutes()
	s.banRoutes()
	s.tenantRoutes()
	s.tierRoutes()
	s.keyRoutes()
	s.bypassRoutes()
	s.securityRoutes()
	s.trailRoutes()
	s.liveRoutes()
	s.referenceRoutes()
	s.mux.HandleFunc("/", unknownPath)
	return s
}

// public, viewer, operator and admin add a route for everybody, and for
// operators with that role or a higher one. pattern is one of http.ServeMux with
// a method; the document says the rest.
func (s *Server) public(pattern string, h handler)   { s.route(pattern, RoleNone, h) }
func (s *Server) viewer(pattern string, h handler)   { s.route(pattern, RoleViewer, h) }
func (s *Server) operator(pattern string, h handler) { s.route(pattern, RoleOperator, h) }
func (s *Server) admin(pattern string, h handler)    { s.route(pattern, RoleAdmin, h) }

func (s *Server) route(pattern string, needed Role, h handler) {
	s.routes = append(s.routes, route{pattern, needed})
	s.mux.Handle(pattern, s.serve(pattern, needed, h))
}

// plain makes a handler of one of net/http's.
func plain(h http.HandlerFunc) handler {
	return func(c *call) error {
		h(c.w, c.r)
		return nil
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	s.mux.ServeHTTP(w, r)
}

// Collect emits the server's metrics; pass it to [telemetry.Metrics.Collect].
func (s *Server) Collect(emit telemetry.Emit) {
	emit("sluice_admin_login_failures_total", float64(s.failures.Load()))
}

func unknownPath(w http.ResponseWriter, r *http.Request) {
	p := problem.Problem{
		Type: problem.DocsURL + "not-found", Title: "Not found", Status: http.StatusNotFound,
		Detail: "The admin listener has no such path.",
	}
	p.Write(w, r.Method == http.MethodHead)
}
