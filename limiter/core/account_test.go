package core

import (
	"math/rand/v2"
	"testing"
)

func TestSharesNeverExceedThePool(t *testing.T) {
	for pool := int64(-5); pool < 200; pool++ {
		for want := int64(-1); want < 50; want++ {
			for replicas := range 12 {
				g := Share(pool, want, replicas)
				if g < 0 || g > max(0, pool) {
					t.Fatalf("Share(%d, %d, %d) = %d", pool, want, replicas, g)
				}
				if g < min(want, pool) {
					t.Fatalf("Share(%d, %d, %d) = %d: the pool had enough", pool, want, replicas, g)
				}
				if want <= 0 && pool <= 2*int64(max(1, replicas)) && g != 0 {
					t.Fatalf("Share(%d, %d, %d) = %d: a prefetch took the last rights", pool, want, replicas, g)
				}
			}
		}
	}
}

func TestSpendingAFreshWindowTakesFewGrants(t *testing.T) {
	for _, c := range []struct{ limit, replicas, most int64 }{
		{1000, 1, 16}, {1000, 3, 41}, {10_000, 3, 55}, {10_000, 10, 160},
	} {
		a := Account{}
		l := Limit{Rights: c.limit, Span: 36000}
		var calls int64
		for a.Pool(l) > 0 {
			n := a.Grant(l, 1, int(c.replicas))
			a.Settle(1, n, MaxRuns)
			calls++
		}
		if calls > c.most {
			t.Errorf("limit %d, %d replicas: %d grants, want at most %d", c.limit, c.replicas, calls, c.most)
		}
	}
}

// TestAnAccountAlwaysAddsUp does random steps and compares U + H + P with L, and
// U with the uses that are in the window.
func TestAnAccountAlwaysAddsUp(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var a Account
		var all naive
		now := Stamp(rnd.Uint32())
		l := Limit{Rights: 1 + rnd.Int64N(100), Span: 50}
		lowered := false
		for range 400 {
			switch rnd.IntN(7) {
			case 0:
				a.Grant(l, rnd.Int64N(10), 1+rnd.IntN(4))
			case 1:
				n := rnd.Int64N(a.Held + 1)
				at := now + 1 - Stamp(rnd.IntN(5))
				a.Settle(at, n, 16)
				all = append(all, Run{at, uint32(n)})
			case 2:
				a.Return(rnd.Int64N(a.Held + 1))
			case 3:
				n := rnd.Int64N(5)
				if _, ok := a.Spend(l, now+1, n, 16); ok {
					all = append(all, Run{now + 1, uint32(n)})
				}
			case 4, 5:
				now += Stamp(rnd.IntN(20))
				a.Expire(now, l)
			case 6:
				if rnd.IntN(20) == 0 {
					l.Rights, lowered = 1+rnd.Int64N(100), true
				}
			}
			checkLog(t, &a.Log, 16)
			if a.Held < 0 || a.Log.Used()+a.Held+a.Pool(l) != l.Rights {
				t.Fatalf("seed %d: U %d, H %d, P %d, L %d", seed, a.Log.Used(), a.Held, a.Pool(l), l.Rights)
			}
			if a.Pool(l) < 0 && !lowered {
				t.Fatalf("seed %d: pool %d", seed, a.Pool(l))
			}
			if want := all.from(now - l.Span + 1); a.Log.Used() < want {
				t.Fatalf("seed %d: U is %d, but %d uses are in the window", seed, a.Log.Used(), want)
			}
		}
	}
}

func TestFitsIsWhenEnoughHasLeft(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var a Account
		l := Limit{Rights: 20, Span: 100}
		now := Stamp(1000)
		for range 15 {
			a.Spend(l, now, 1+rnd.Int64N(4), 6)
			now += Stamp(rnd.IntN(15))
		}
		a.Expire(now, l)
		n := a.Pool(l) + 1 + rnd.Int64N(l.Rights-a.Pool(l))
		at, ok := a.Fits(l, n)
		if !ok {
			t.Fatalf("seed %d: %d of %d never fit", seed, n, l.Rights)
		}
		before := a
		before.Log.runs = append([]Run(nil), a.Log.runs...)
		if before.Expire(at+l.Span-1, l); before.Pool(l) >= n {
			t.Errorf("seed %d: fits before it says", seed)
		}
		if a.Expire(at+l.Span, l); a.Pool(l) < n {
			t.Errorf("seed %d: does not fit when it says", seed)
		}
	}
}

func TestABurstAdmitsSizePlusRate(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		interval, size := 1+rnd.Int64N(1000), 1+rnd.Int64N(20)
		var full, now int64
		type use struct{ at, n int64 }
		var uses []use
		for range 300 {
			now += rnd.Int64N(interval * 2)
			n := 1 + rnd.Int64N(min(size, 4))
			next, wait := Burst(full, now, interval, size*interval, n)
			left := BurstLeft(full, now, interval, size*interval)
			if (wait == 0) != (left >= n) {
				t.Fatalf("seed %d: %d left, but %d waits %d", seed, left, n, wait)
			}
			if wait > 0 {
				if next != full {
					t.Fatal("a refusal changed the bucket")
				}
				if _, again := Burst(full, now+wait, interval, size*interval, n); again != 0 {
					t.Fatalf("refused after the wait, for %d more", again)
				}
				if _, again := Burst(full, now+wait-1, interval, size*interval, n); again == 0 {
					t.Fatal("the wait is too long")
				}
				continue
			}
			full = next
			uses = append(uses, use{now, n})
			var sum int64
			for i := len(uses) - 1; i >= 0; i-- {
				sum += uses[i].n
				if most := size + (now-uses[i].at)/interval; sum > most {
					t.Fatalf("seed %d: %d in %d ns, want at most %d", seed, sum, now-uses[i].at, most)
				}
			}
		}
	}
}
