package limiter

import "time"

// MaxCharges is how many charges one decision can weigh.
const MaxCharges = 4

// Charge is what one request costs under one rule.
type Charge struct {
	Rule *Rule
	Key  Key
	// Cost is the number of rights taken when the request is admitted. 0 only
	// looks: it takes nothing, never refuses and creates no bucket. Negative is 0.
	Cost int64
	// Shadow counts and reports but never refuses. What enforcing would have
	// refused is reported and, like every refused request, takes nothing; so the
	// window holds what it would hold had the limit been enforced, and enforcing
	// it later starts neither with an empty window nor with an overdrawn one. An
	// emergency bypass is the same thing: every charge of the request in shadow.
	Shadow bool
}

// Zone is how far from its limit a decision was made.
type Zone uint8

const (
	// Green: the rights were at hand.
	Green Zone = iota
	// Amber: the authority of the key was asked, whatever it said.
	Amber
	// Red: known to be exhausted; nothing was asked and nothing was touched.
	Red
)

// String returns green, amber or red.
func (z Zone) String() string {
	switch z {
	case Green:
		return "green"
	case Amber:
		return "amber"
	default:
		return "red"
	}
}

// Quota is where one charge stands after a decision.
type Quota struct {
	Limit     int64 // rights per window
	Remaining int64 // rights left now, 0 to Limit
	// ResetAfter is the time until used quota next comes back: until the oldest
	// use leaves a sliding window, or until a fixed window ends. 0: nothing is used.
	ResetAfter time.Duration
	// Wait is the time until this charge would be admitted, were nobody else to
	// use the key; 0 unless the charge did not fit. A cost that can never fit
	// waits one window.
	Wait time.Duration
	// BurstLimit and BurstRemaining are the burst's size and what is left of it; 0
	// and 0 without a burst limit.
	BurstLimit, BurstRemaining int64
	// BurstRefused says that it is the burst, not the quota, that was too small.
	BurstRefused bool
}

// Decision is the answer to one Decide. The caller owns it and reuses it:
// Decide sets every field.
type Decision struct {
	Admitted bool
	Zone     Zone
	// Tightest is the index of the charge whose numbers the next fields show: of a
	// refusal, the charge with the longest wait; else the one with the least share
	// of its limit left. Enforced charges go before shadow ones. -1 without charges.
	Tightest int
	// Limit and Remaining are those of the tightest charge: its burst's when the
	// burst refused, else its quota's.
	Limit, Remaining int64
	// ResetUnixSec is when quota of the tightest charge next comes back, in whole
	// seconds since 1970, rounded up.
	ResetUnixSec int64
	// RetryAfter is above 0 only when refused: after it the same request fits every
	// charge, unless others use the same keys. Round it up for the header.
	RetryAfter time.Duration
	// WouldRefuse has bit i set when shadow charge i did not fit.
	WouldRefuse uint8
	// N is the number of charges; Quotas[:N] are in their order.
	N      int
	Quotas [MaxCharges]Quota

	moved bool // a bucket was found to be with another process: see Handover
}

// Usage is the state of one bucket, for people.
type Usage struct {
	Limit      int64
	Used       int64 // rights used inside the window; above Limit after it was lowered
	Remaining  int64
	ResetAfter time.Duration // until quota next comes back; 0: nothing is used
	Known      bool          // whether the bucket exists
}

// Stats are counters since New, and gauges.
type Stats struct {
	// Decisions counts answers by zone and by whether they admitted.
	Decisions [3]struct{ Admitted, Refused uint64 }
	// WouldRefuse counts shadow charges that did not fit.
	WouldRefuse uint64
	// Keys and Addresses are the buckets held now.
	Keys, Addresses int64
	// Expired counts keys dropped because nothing in them was used any more.
	Expired uint64
	// AddressesEvicted counts addresses that gave way to others while still in use.
	AddressesEvicted uint64
	// Overflowed counts charges to keys that found the table full.
	Overflowed uint64
	// Durable is the state of what is kept on disk.
	Durable DurableStats
	// Cluster is the state of the authority.
	Cluster ClusterStats
}
