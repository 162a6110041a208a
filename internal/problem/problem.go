// Package problem renders RFC 9457 problem details, the one shape in which
// every part of sluice answers an error over HTTP.
package problem

import (
	"net/http"
	"strconv"
)

// ContentType is the media type of RFC 9457 §3.
const ContentType = "application/problem+json"

// DocsURL is where each error type has its page.
const DocsURL = "https://docs.sluice.example/errors/"

// QuotaExceeded is the problem type that draft-ietf-httpapi-ratelimit-headers
// registers for an exhausted quota.
const QuotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// Problem is one error answer. Its words are public: no cause, no address of
// the inside, no rule's name belongs here.
type Problem struct {
	Type      string // absolute URL; [DocsURL] + code where no registered type exists
	Title     string // the same for every problem of the type
	Status    int
	Detail    string // what happened this time, for a person
	RequestID string // omitted when empty

	Limit  *Limit  // set for 429 alone
	Faults []Fault // what is wrong with which part of the request; omitted when empty
}

// Fault is one thing wrong with a request, as an element of the member errors.
// One of Pointer and Parameter is set.
type Fault struct {
	Pointer   string // into the body, as a URI fragment (RFC 6901 §6): #/limit/requests
	Parameter string // of the query
	Detail    string // what is wrong, and what would be right
}

// Limit holds the members that a 429 adds.
type Limit struct {
	Policy     string // id of the violated policy
	Tenant     string // omitted when empty
	Tier       string // omitted when empty
	Limit      int64
	Remaining  int64
	RetryAfter int64 // seconds
}

// Append appends p as a JSON object to b.
func (p *Problem) Append(b []byte) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, p.Type)
	b = append(b, `,"title":`...)
	b = appendString(b, p.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	if p.Detail != "" {
		b = append(b, `,"detail":`...)
		b = appendString(b, p.Detail)
	}
	if l := p.Limit; l != nil {
		b = append(b, `,"violated-policies":[`...)
		b = appendString(b, l.Policy)
		b = append(b, ']')
		b = appendMember(b, "tenant", l.Tenant)
		b = appendMember(b, "tier", l.Tier)
		b = append(b, `,"limit":`...)
		b = strconv.AppendInt(b, l.Limit, 10)
		b = append(b, `,"remaining":`...)
		b = strconv.AppendInt(b, l.Remaining, 10)
		b = append(b, `,"retry_after":`...)
		b = strconv.AppendInt(b, l.RetryAfter, 10)
	}
	for i, f := range p.Faults {
		if i == 0 {
			b = append(b, `,"errors":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"detail":`...)
		b = appendString(b, f.Detail)
		b = appendMember(b, "pointer", f.Pointer)
		b = appendMember(b, "parameter", f.Parameter)
		b = append(b, '}')
		if i == len(p.Faults)-1 {
			b = append(b, ']')
		}
	}
	b = appendMember(b, "request_id", p.RequestID)
	return append(b, '}', '\n')
}

// Write sends p as the whole response. Headers set on w before are kept; those
// that describe a body are replaced.
func (p *Problem) Write(w http.ResponseWriter, head bool) (n int) {
	body := p.Append(make([]byte, 0, 512))
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Del("Last-Modified")
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if head {
		return 0
	}
	n, _ = w.Write(body) // a client that has gone is seen by the server
	return n
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendString appends s as a JSON string (RFC 8259 §7), escaping what must be
// and, so that the text is safe inside HTML too, < > and &. Invalid UTF-8
// becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f || r == '<' || r == '>' || r == '&':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		case r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u', '2', '0', '2', hex[r&0xf])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
