package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/problem"
)

// Fault is one thing wrong with a request.
type Fault = problem.Fault

// Refusal is an error that a caller is told as it is. Handlers return it; any
// other error is answered with 500 and logged.
type Refusal struct {
	Status     int
	Word       string // ends the problem type's URL
	Title      string // the same for every problem of the type
	Detail     string
	Faults     []Fault
	RetryAfter time.Duration

	challenge string
}

func (e *Refusal) Error() string {
	text := e.Word
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	for _, f := range e.Faults {
		text += fmt.Sprintf("; %s%s %s", f.Pointer, f.Parameter, f.Detail)
	}
	return text
}

// notFound says that there is no such thing.
func notFound(kind, id string) *Refusal {
	return &Refusal{Status: http.StatusNotFound, Word: "not-found", Title: "Not found", Detail: fmt.Sprintf("There is no %s %q.", kind, id)}
}

// conflict says that the state of things does not allow it.
func conflict(detail string) *Refusal {
	return &Refusal{Status: http.StatusConflict, Word: "conflict", Title: "Not possible now", Detail: detail}
}

// invalid says what is wrong with the request, part by part.
func invalid(faults ...Fault) *Refusal {
	return &Refusal{
		Status: http.StatusUnprocessableEntity, Word: "invalid", Title: "Invalid request",
		Detail: "The request is well formed, but not valid; errors says where.", Faults: faults,
	}
}

// unavailable says that a dependency is down.
func unavailable(detail string) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Word: "unavailable", Title: "Not available now", Detail: detail, RetryAfter: 5 * time.Second}
}

// refuse answers with the error, and returns the status.
func (c *call) refuse(err error) int {
	refusal, told := errors.AsType[*Refusal](err)
	if !told {
		c.s.deps.Log.Error("admin call failed", "call", c.pattern, "error", err, "request_id", c.id)
		refusal = &Refusal{Status: http.StatusInternalServerError, Word: "internal", Title: "Internal error", Detail: "The gateway failed on this request; it was logged."}
	}
	h := c.w.Header()
	if refusal.challenge != "" {
		h.Set("WWW-Authenticate", refusal.challenge)
	}
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((refusal.RetryAfter+time.Second-1)/time.Second), 10))
	}
	p := problem.Problem{
		Type: problem.DocsURL + refusal.Word, Title: refusal.Title, Status: refusal.Status, Detail: refusal.Detail,
		RequestID: c.id, Faults: refusal.Faults,
	}
	p.Write(c.w, c.r.Method == http.MethodHead)
	return refusal.Status
}
