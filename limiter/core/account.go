package core

// Account is what the authority of one key knows in sum: the uses inside the
// window (U, the log) and the rights that nodes hold (H). Together with the pool
// (P) they are the limit:
//
//	U + H + P = L
//
// P is never stored, so the equation holds by construction; what the methods
// keep is that P becomes negative only when the limit is lowered (or rights are
// presented that the authority had forgotten), and that nothing is granted then.
//
// The zero Account is a full pool. Methods expect Expire to have been called
// with the present first; without it they are right but see fewer free rights.
type Account struct {
	Log  Log
	Held int64 // H, never negative
}

// Pool is P: the rights that are neither used nor held.
func (a *Account) Pool(l Limit) int64 { return l.Rights - a.Log.Used() - a.Held }

// Expire moves the uses that have left the window back into the pool (U→P) and
// returns how many.
func (a *Account) Expire(now Stamp, l Limit) int64 { return a.Log.Expire(now, l.Span) }

// Grant moves rights from the pool into a node's hands (P→H) and returns how
// many: want, or the prefetch share when that is more, never above the pool.
func (a *Account) Grant(l Limit, want int64, replicas int) int64 {
	g := Share(a.Pool(l), want, replicas)
	a.Held += g
	return g
}

// Share is the size of a grant out of a pool for one of so many replicas: want,
// or 1/(2·replicas) of the pool if that is more. A pool of 2·replicas or less
// gives only what is wanted, since prefetched crumbs strand the last rights on
// nodes that do not need them. It is between 0 and max(0, pool).
func Share(pool, want int64, replicas int) int64 {
	g := max(0, want)
	if a2 := 2 * int64(max(1, replicas)); pool > a2 {
		g = max(g, pool/a2)
	}
	return max(0, min(g, pool))
}

// Settle moves n held rights that were spent at or before at into the log (H→U)
// and returns the stamp under which they went in. n must not exceed Held.
func (a *Account) Settle(at Stamp, n int64, most int) Stamp {
	a.Held -= n
	if a.Held < 0 {
		panic("BUG: more rights settled than held")
	}
	return a.Log.Add(at, uint32(n), most)
}

// Return moves n held rights back into the pool (H→P). n must not exceed Held.
func (a *Account) Return(n int64) {
	a.Held -= n
	if a.Held < 0 {
		panic("BUG: more rights returned than held")
	}
}

// Spend moves n rights from the pool straight into the log (P→U), a grant and
// its settling in one, and returns the stamp under which they went in. It does
// nothing and returns false when the pool has fewer.
func (a *Account) Spend(l Limit, at Stamp, n int64, most int) (Stamp, bool) {
	if n > a.Pool(l) {
		return at, false
	}
	return a.Log.Add(at, uint32(n), most), true
}

// Fits returns the stamp whose run must leave the window before n rights are
// free, as far as time alone can free them: beside what the log will let go, only
// the pool counts, not what nodes hold. ok is false when that is never enough.
// n ≤ P needs no waiting and is the caller's to notice.
func (a *Account) Fits(l Limit, n int64) (at Stamp, ok bool) {
	return a.Log.Leaves(n - a.Pool(l))
}
