package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Requests counts what was asked of an issuer, answered or not.
type Requests struct {
	JWKS      int64
	Discovery int64
	Token     int64
}

// Requests returns the counts since New.
func (i *Issuer) Requests() Requests {
	return Requests{JWKS: i.jwks.Load(), Discovery: i.discovery.Load(), Token: i.tokens.Load()}
}

// SetDown makes every request fail with 503 (or stop failing).
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// SetDelay makes the answers wait. Zero ends it.
func (i *Issuer) SetDelay(d time.Duration) { i.delay.Store(int64(d)) }

// ServeHTTP answers discovery, the key set and the token endpoint. The latter
// takes its parameters from the query or a form: tenant, tier, permissions (by
// commas or spaces), subject, audience, alg, ttl (such as 60s).
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve, method := i.endpoint(r.URL.Path)
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	if d := time.Duration(i.delay.Load()); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	if i.down.Load() {
		http.Error(w, "the issuer is down", http.StatusServiceUnavailable)
		return
	}
	if r.Method != method && !(method == http.MethodGet && r.Method == http.MethodHead) {
		w.Header().Set("Allow", method)
		http.Error(w, "use "+method, http.StatusMethodNotAllowed)
		return
	}
	serve(w, r)
}

// endpoint finds the handler of a path and counts the request.
func (i *Issuer) endpoint(path string) (serve http.HandlerFunc, method string) {
	switch path {
	case "/.well-known/jwks.json":
		i.jwks.Add(1)
		return i.serveJWKS, http.MethodGet
	case "/.well-known/openid-configuration":
		i.discovery.Add(1)
		return i.serveDiscovery, http.MethodGet
	case "/token", "/oauth/token": // the latter is Auth0's
		i.tokens.Add(1)
		return i.serveToken, http.MethodPost
	}
	return nil, ""
}

func (i *Issuer) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	if i.opts.MaxAge >= 0 {
		w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(i.opts.MaxAge.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(i.JWKS())
}

func (i *Issuer) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	algorithms := []string{}
	for _, key := range i.Keys() {
		algorithms = append(algorithms, key.Algorithm)
	}
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                i.opts.URL,
		"jwks_uri":                              i.JWKSURL(),
		"token_endpoint":                        i.opts.URL + "token",
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithms,
	})
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		refuse(w, "the form cannot be read")
		return
	}
	c := Claims{
		Tenant:      r.Form.Get("tenant"),
		Tier:        r.Form.Get("tier"),
		Subject:     r.Form.Get("subject"),
		Algorithm:   r.Form.Get("alg"),
		Permissions: strings.FieldsFunc(r.Form.Get("permissions"), func(c rune) bool { return c == ',' || c == ' ' }),
	}
	if audience := r.Form.Get("audience"); audience != "" {
		c.Audience = []string{audience, i.opts.URL + "userinfo"}
	}
	if text := r.Form.Get("ttl"); text != "" {
		ttl, err := time.ParseDuration(text)
		if err != nil || ttl == 0 {
			refuse(w, "ttl must be a duration such as 60s")
			return
		}
		c.TTL = ttl
	}
	token, err := i.Token(c)
	if err != nil {
		refuse(w, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
	answer(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"` // seconds
	}{token, "Bearer", int(c.ttl().Seconds())})
}

// refuse answers as RFC 6749 §5.2 has it.
func refuse(w http.ResponseWriter, description string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": description})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
