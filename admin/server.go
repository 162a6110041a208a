package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"sluice/conf"
	"sluice/internal/problem"
	"sluice/telemetry"
)

// Reloaded is the outcome of applying the configuration on disk.
type Reloaded struct {
	Hash     string        `json:"hash"`     // of the configuration now in force
	Changed  bool          `json:"changed"`  // false: the file says what is in force already
	Problems conf.Problems `json:"problems"` // warnings when it was applied, errors too when it was refused
}

// Deps are the functions that answer for the rest of the process. All are
// needed.
type Deps struct {
	Token   conf.Secret
	Metrics io.WriterTo
	Health  *telemetry.Health
	Status  func() any                             // rendered as JSON; must not block
	Config  func() []byte                          // the effective configuration, redacted
	Reload  func(context.Context) (Reloaded, bool) // false: refused, the old one stays in force
	Cluster Cluster
	Log     *slog.Logger
}

// Server answers the private listener's requests. It is an http.Handler, safe
// for concurrent use.
type Server struct {
	deps  Deps
	token [sha256.Size]byte
	mux   *http.ServeMux
}

// New returns the handler.
func New(deps Deps) *Server {
	s := &Server{deps: deps, token: sha256.Sum256([]byte(deps.Token.Reveal())), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, deps.Health.Healthz) })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, deps.Health.Readyz) })
	s.mux.HandleFunc("GET /metrics", s.metrics)
	s.mux.Handle("GET /api/v1/status", s.operator(s.status))
	s.mux.Handle("GET /api/v1/config", s.operator(s.config))
	s.mux.Handle("POST /api/v1/config:reload", s.operator(s.reload))
	s.mux.Handle("GET /api/v1/cluster", s.operator(s.cluster))
	s.mux.Handle("GET /api/v1/cluster/keys", s.operator(s.clusterKeys))
	for _, action := range []string{"install", "use", "remove"} {
		s.mux.Handle("POST /api/v1/cluster/keys:"+action, s.operator(s.changeKeys(action)))
	}
	s.mux.Handle("GET /debug/pprof/", s.operator(pprof.Index))
	s.mux.Handle("GET /debug/pprof/profile", s.operator(pprof.Profile))
	s.mux.Handle("GET /debug/pprof/symbol", s.operator(pprof.Symbol))
	s.mux.Handle("GET /debug/pprof/trace", s.operator(pprof.Trace))
	s.mux.HandleFunc("/", notFound)
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	s.mux.ServeHTTP(w, r)
}

// operator lets only requests with the operator's token through. Both sides
// are hashed first, so that the comparison takes the same time whatever the
// length.
func (s *Server) operator(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		given := sha256.Sum256([]byte(token))
		same := subtle.ConstantTimeCompare(given[:], s.token[:]) == 1
		if !strings.EqualFold(scheme, "Bearer") || token == "" || !same {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sluice admin"`)
			write(w, r, http.StatusUnauthorized, "unauthenticated", "Authentication required", "The operator's bearer token is required.")
			return
		}
		next(w, r)
	})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", telemetry.MetricsContentType)
	if _, err := s.deps.Metrics.WriteTo(w); err != nil {
		s.deps.Log.Debug("metrics not sent", telemetry.KeyError, err)
	}
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, s.deps.Status())
}

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	if _, err := w.Write(s.deps.Config()); err != nil {
		s.deps.Log.Debug("configuration not sent", telemetry.KeyError, err)
	}
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	outcome, ok := s.deps.Reload(r.Context())
	status := http.StatusOK
	if !ok {
		status = http.StatusUnprocessableEntity
	}
	s.writeJSON(w, status, outcome)
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		s.deps.Log.Debug("answer not sent", telemetry.KeyError, err)
	}
}

func writeHealth(w http.ResponseWriter, render func() (int, []byte)) {
	status, body := render()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // a prober that has gone needs no answer
}

func notFound(w http.ResponseWriter, r *http.Request) {
	write(w, r, http.StatusNotFound, "not-found", "Not found", "The admin listener has no such path.")
}

func write(w http.ResponseWriter, r *http.Request, status int, word, title, detail string) {
	p := problem.Problem{Type: problem.DocsURL + word, Title: title, Status: status, Detail: detail}
	p.Write(w, r.Method == http.MethodHead)
}
