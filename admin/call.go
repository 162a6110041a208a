package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sluice/telemetry"
)

// handler answers one call, or returns why not: a *Refusal is told as it is.
type handler func(*call) error

// call is one request to the API. It belongs to the goroutine that serves it.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	pattern string     // of the route
	id      string     // of the request
	from    netip.Addr // the other end of the connection
	by      Operator
	entry   Entry // what the audit will say
	audited bool  // it has been said already
	status  int
}

// maxBody bounds the body of a call, in bytes.
const maxBody = 4 << 20

// serve takes a request through login, role, handler and audit, in this order.
func (s *Server) serve(pattern string, needed Role, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		c := &call{s: s, w: w, r: r, pattern: pattern, id: telemetry.NewRequestID(now), from: addressOf(r.RemoteAddr), status: http.StatusOK}
		if given := r.Header.Get("X-Request-Id"); telemetry.ValidRequestID(given) {
			c.id = given
		}
		w.Header().Set("X-Request-Id", c.id)
		err := s.admit(c, needed)
		if err == nil {
			err = h(c)
		}
		if err != nil {
			c.status = c.refuse(err)
		}
		if c.by.Role != RoleNone && mutates(r.Method) {
			c.audit(now)
		}
	})
}

func (s *Server) admit(c *call, needed Role) error {
	if needed == RoleNone {
		return nil
	}
	if err := s.login(c); err != nil {
		return err
	}
	if c.by.Role < needed {
		return forbidden(c.by, needed)
	}
	return nil
}

func mutates(method string) bool { return method != http.MethodGet && method != http.MethodHead }

// path is the value of a wildcard of the route's pattern.
func (c *call) path(name string) string { return c.r.PathValue(name) }

// query is the value of a query parameter, "" when it is absent.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// ok answers 200 with value as JSON.
func (c *call) ok(value any) error { return c.answer(http.StatusOK, value) }

// answer answers with value as JSON.
func (c *call) answer(status int, value any) error {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	c.status = status
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	c.send(append(body, '\n'))
	return nil
}

// nothing answers 204.
func (c *call) nothing() error {
	c.status = http.StatusNoContent
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// text answers 200 with a document that is not JSON.
func (c *call) text(contentType string, body []byte) error {
	c.w.Header().Set("Content-Type", contentType)
	c.send(body)
	return nil
}

func (c *call) send(body []byte) {
	if c.r.Method == http.MethodHead {
		return
	}
	if _, err := c.w.Write(body); err != nil {
		c.s.deps.Log.Debug("answer not sent", telemetry.KeyError, err)
	}
}

// decode reads the body into v, a pointer. What the document says of the
// operation's body holds: every violation is a fault with its pointer.
func (c *call) decode(v any) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	return c.decodeAs(c.pattern, body, v)
}

// decodeAs reads body into v as that of the operation with this pattern.
func (c *call) decodeAs(pattern string, body []byte, v any) error {
	faults, err := c.s.document().check(pattern, body)
	if err != nil {
		return malformed(err)
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return malformed(err)
	}
	return nil
}

func malformed(err error) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Word: "bad-request", Title: "Malformed request", Detail: "The body is not the JSON that this call takes: " + err.Error() + "."}
}

// body reads the whole body.
func (c *call) body() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return nil, &Refusal{Status: http.StatusRequestEntityTooLarge, Word: "body-too-large", Title: "Request body too large", Detail: "The body has more than 4 MiB, or did not arrive whole."}
	}
	return body, nil
}
