package limiter

import (
	"fmt"
	"testing"
	"time"

	"sluice/conf"
)

// start is an ordinary moment: some hours after the process began, and not at a
// whole second.
var start = Instant{MonoNS: int64(5*time.Hour + 123456789), UnixNS: 1_795_431_600_123_456_789}

func (i Instant) after(d time.Duration) Instant {
	return Instant{MonoNS: i.MonoNS + int64(d), UnixNS: i.UnixNS + int64(d)}
}

func compile(t testing.TB, id string, l conf.Limit) *Rule {
	t.Helper()
	r, err := Compile(id, l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func perHour(n int64) conf.Limit { return conf.Limit{Requests: n, Per: conf.Duration(time.Hour)} }

func per(n int64, d time.Duration) conf.Limit { return conf.Limit{Requests: n, Per: conf.Duration(d)} }

// world is a limiter with one caller.
type world struct {
	testing.TB
	*Limiter
	d     Decision
	calls int
}

func newWorld(t testing.TB, o Options) *world {
	if o.Secret == ([16]byte{}) {
		o.Secret[0] = 1
	}
	return &world{TB: t, Limiter: New(o)}
}

// decide decides and checks what must hold of every answer.
func (w *world) decide(now Instant, charges ...Charge) *Decision {
	w.Helper()
	w.Decide(now, charges, &w.d)
	d := &w.d
	if d.N != len(charges) {
		w.Fatalf("N = %d, want %d", d.N, len(charges))
	}
	if d.Admitted != (d.RetryAfter == 0) {
		w.Fatalf("admitted %v with RetryAfter %v", d.Admitted, d.RetryAfter)
	}
	for i, q := range d.Quotas[:d.N] {
		if q.Remaining < 0 || q.Remaining > q.Limit {
			w.Fatalf("charge %d: remaining %d of %d", i, q.Remaining, q.Limit)
		}
		if q.ResetAfter < 0 || q.Wait < 0 || q.BurstRemaining < 0 || q.BurstRemaining > q.BurstLimit {
			w.Fatalf("charge %d: %+v", i, q)
		}
	}
	if w.calls++; w.calls > 100 && w.calls%64 != 0 {
		return d // what follows walks whole logs
	}
	for i := range charges {
		if e := w.keys.find(charges[i].Key); e != nil {
			if err := e.check(0); err != nil {
				w.Fatal(err)
			}
		}
	}
	return d
}

// check says what is wrong with an entry that has so many reserved rights.
func (e *entry) check(reserved int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.hot.Load()
	if got, want := tokensIn(w)+pendingIn(w)+reserved+e.coming(), e.account.Held; got != want {
		return fmt.Errorf("tokens %d + pending %d + reserved %d = %d, but the account holds %d",
			tokensIn(w), pendingIn(w), reserved, got, want)
	}
	var sum int64
	runs := e.account.Log.Runs()
	for i, r := range runs {
		sum += int64(r.N)
		if r.N == 0 || i > 0 && !runs[i-1].At.Before(r.At) {
			return fmt.Errorf("runs out of order or empty: %v", runs)
		}
	}
	if sum != e.account.Log.Used() {
		return fmt.Errorf("runs hold %d, Used is %d", sum, e.account.Log.Used())
	}
	r := e.rule.Load()
	if u, h, p := e.account.Log.Used(), e.account.Held, e.account.Pool(r.limit); u+h+p != r.Limit() {
		return fmt.Errorf("U %d + H %d + P %d is not L %d", u, h, p, r.Limit())
	}
	return nil
}
