package auth

// Stats is the state of a verifier, for metrics. Counts go on over
// configurations as long as each is compiled with the former as Previous.
type Stats struct {
	Issuers  []IssuerStats // as configured
	Cached   int           // tokens remembered now, some of them possibly expired
	Capacity int           // tokens remembered at most
}

// IssuerStats is the state of one configured issuer.
type IssuerStats struct {
	Issuer   string // iss
	Audience string
	Hits     uint64      // tokens that were remembered
	Misses   uint64      // tokens that were verified, or refused after the issuer was known
	Keys     KeySetStats // zero but for the URL while the key set is not in use
}

// Stats returns counts and ages as of now. It is not for the request path.
func (v *Verifier) Stats() Stats {
	st := Stats{Cached: int(v.cache.count.Load()), Capacity: int(v.cache.capacity)}
	live := *v.keys.live.Load()
	for _, is := range v.order {
		one := IssuerStats{Issuer: is.name, Audience: is.audience}
		one.Hits, one.Misses = is.tally.sums()
		if s := live[is.keys]; s != nil {
			one.Keys = s.stats()
		} else {
			one.Keys.URL = redacted(is.keys)
		}
		st.Issuers = append(st.Issuers, one)
	}
	return st
}
