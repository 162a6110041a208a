package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// anyRevision is what ifMatch returns when the caller does not say.
const anyRevision = 0

// etag tells the revision of the thing that is answered with. Revisions begin
// at 1.
func (c *call) etag(revision int64) {
	c.w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(revision, 10)))
}

// ifMatch is the revision that the caller has seen and means to change;
// anyRevision without an If-Match, or with *.
func (c *call) ifMatch() (int64, error) {
	text := strings.TrimSpace(strings.Join(c.r.Header.Values("If-Match"), ","))
	if text == "" || text == "*" {
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
