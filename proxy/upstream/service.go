package upstream

import (
	"context"
	"time"
)

// Service is a compiled group of endpoints. It is immutable; the endpoints are
// shared with the services that were compiled under the same name before and after.
type Service struct{ name string }

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// Pick chooses the endpoint for a try. hash decides under balance: hash (any
// well-mixed 64-bit hash of what shall stay together). tried, which may be nil, are
// those that failed this request before: they are chosen again only when no other is left.
//
// When no endpoint is available, those are chosen from that at least answered
// their last health check, or were only ejected: a wrong health path must not be an outage.
// When all cannot even be reached, the error is [ErrNoUpstream].
func (s *Service) Pick(hash uint64, tried *Tried) (*Endpoint, error) { return nil, ErrNoUpstream }

// Budget returns the service's retry budget, which lives on over reloads.
func (s *Service) Budget() *Budget { return nil }

// Tried remembers the endpoints that one request has been sent to. The zero value is empty.
type Tried struct{ list []*Endpoint }

// Add notes e.
func (t *Tried) Add(e *Endpoint) { t.list = append(t.list, e) }

// Reset empties it.
func (t *Tried) Reset() { clear(t.list); t.list = t.list[:0] }

func (t *Tried) has(e *Endpoint) bool {
	if t == nil {
		return false
	}
	for _, x := range t.list {
		if x == e {
			return true
		}
	}
	return false
}

// Endpoint is one upstream of a service, with its connections, its health and
// its counters. It outlives the snapshots that use it.
type Endpoint struct{ url string }

// URL returns the URL from the configuration, for logs and labels.
func (e *Endpoint) URL() string { return e.url }

// Do makes one try: it sends out, and returns when the head of the final
// response is in in, or with an *[Error]. It dials when no connection is idle, and waits when none
// may be dialled. A connection that turns out to have been closed while idle is replaced
// without the caller noticing, as long as that is safe.
func (e *Endpoint) Do(ctx context.Context, out *Request, in *Response) error {
	return &Error{Kind: Connect}
}

// Budget bounds retries to a share of the requests of the last ten seconds.
type Budget struct{}

// Count notes a request: the first try of it. now may be a little old.
func (b *Budget) Count(now time.Time) {}

// Take reports whether a retry may be made, and notes it if so.
func (b *Budget) Take(now time.Time) bool { return true }
