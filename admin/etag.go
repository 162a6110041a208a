package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"sluice/store"
)

// What ifMatch returns beside revisions, which begin at 1. For what changes, and does
// not replace, they are the same: it is made on what is there.
const (
	anyRevision = store.AnyRevision // If-Match: *
	unsaid      = -2                // there is no If-Match
)

// etag tells the revision of the thing that is answered with. Revisions begin
// at 1.
func (c *call) etag(revision int64) {
	c.w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(revision, 10)))
}

// ifMatch is the revision that the caller has seen and means to change.
func (c *call) ifMatch() (int64, error) {
	text := strings.TrimSpace(strings.Join(c.r.Header.Values("If-Match"), ","))
	switch text {
	case "":
		return unsaid, nil
	case "*":
		return anyRevision, nil
	}
	inner, quoted := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	revision, err := strconv.ParseInt(inner, 10, 64)
	if !quoted || !closed || err != nil || revision < 1 {
		// A tag that this server never gave matches nothing (RFC 9110 §13.1.1).
		return 0, changedMeanwhile("The If-Match is not an ETag of this resource.")
	}
	return revision, nil
}

// amending is the revision that a PATCH, an action or a DELETE is meant for, or
// anyRevision.
func (c *call) amending() (int64, error) {
	match, err := c.ifMatch()
	if match == unsaid {
		match = anyRevision
	}
	return match, err
}

// mustNotExist reports whether the caller means to create only
// (If-None-Match: *, RFC 9110 §13.1.2).
func (c *call) mustNotExist() bool { return c.r.Header.Get("If-None-Match") == "*" }

// changedMeanwhile says that somebody else was faster.
func changedMeanwhile(detail string) *Refusal {
	return &Refusal{Status: http.StatusPreconditionFailed, Word: "changed-meanwhile", Title: "Changed meanwhile", Detail: detail}
}

// stale is changedMeanwhile for a thing that is now at another revision.
func stale(kind, id string, now int64) *Refusal {
	return changedMeanwhile(fmt.Sprintf("The %s %q is at revision %d by now; read it again and repeat the change.", kind, id, now))
}

// preconditionRequired says that a PUT would replace what its caller may never have
// seen (RFC 6585 §3).
func preconditionRequired(kind, id string, now int64) *Refusal {
	return &Refusal{
		Status: http.StatusPreconditionRequired, Word: "precondition-required", Title: "Precondition required",
		Detail: fmt.Sprintf("The %s %q is there, and PUT replaces the whole of it: say that this is meant by If-Match: \"%d\", or by If-Match: * whatever is there.", kind, id, now),
	}
}
