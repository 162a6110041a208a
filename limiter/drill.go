//go:build drill

package limiter

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/internal/decisionlog"
	"sluice/limiter/core"
)

// A binary built with the tag drill writes its decisions to a file, for the oracle
// of loadtest/limits, and can be given a bug, to show that the oracle finds it.
// Both are read from the environment once:
//
//	SLUICE_DRILL_LOG=DIR    one file for each process, PID.decisions
//	SLUICE_DRILL_BUG=NAME   double-return, early-stamp
const drill = true

// drillCapacity is the most decisions of one process; 40 bytes each, when used.
const drillCapacity = 1 << 23

var drillLog = sync.OnceValue(func() *decisionlog.Writer {
	dir := os.Getenv("SLUICE_DRILL_LOG")
	if dir == "" {
		return nil
	}
	w, err := decisionlog.Create(filepath.Join(dir, fmt.Sprintf("%d.decisions", os.Getpid())), drillCapacity)
	if err != nil {
		panic("drill: " + err.Error()) // a drill without its record shows nothing
	}
	return w
})

// drillOrigin is the zero of Instant.MonoNS on CLOCK_MONOTONIC. Of a few attempts
// the least is the one that was disturbed least.
var drillOrigin = sync.OnceValue(func() int64 {
	least := int64(math.MaxInt64)
	for range 100 {
		here := Now().MonoNS
		least = min(least, decisionlog.NowNS()-here)
	}
	return least
})

func drillNow() int64 { return Now().MonoNS }

// drillRecord writes one record for each charge that the decision is about: all of
// an admitted request, and those of a refused one that did not fit.
func (l *Limiter) drillRecord(now Instant, began int64, charges []Charge, d *Decision) {
	w := drillLog()
	if w == nil {
		return
	}
	end := drillNow()
	took, wait := min(max(0, end-now.MonoNS), math.MaxUint32), min(max(0, end-began), math.MaxUint32)
	for i := range charges {
		ch := &charges[i]
		admitted := d.Admitted && d.WouldRefuse&(1<<i) == 0
		if ch.Cost <= 0 || !d.Admitted && d.Quotas[i].Wait == 0 {
			continue
		}
		w.Add(decisionlog.Record{
			BeforeNS: now.MonoNS + drillOrigin(), TookNS: uint32(took), WaitNS: uint32(wait), Cost: uint32(min(ch.Cost, math.MaxUint32)), Key: ch.Key[0],
			Limit: uint32(ch.Rule.limit.Rights), WindowMS: uint32(min(ch.Rule.window/time.Millisecond, math.MaxUint32)),
			Admitted: admitted, Zone: uint8(d.Zone),
		})
	}
}

var drillBug = os.Getenv("SLUICE_DRILL_BUG")

// drillFar is what bugs keep of a far entry.
type drillFar struct {
	doubled int64 // rights given back and kept
}

// drillWithdraw returns how much of n Withdraw takes out. A right is doubled once.
// mu is held.
func (f *far) drillWithdraw(n int64) int64 {
	if f.doubled > 0 {
		return 0
	}
	return n
}

// drillWithdrawn sees k rights given back. With double-return they stay in hand as
// well, and what is then spent is not reported. mu is held.
func (f *far) drillWithdrawn(k int64) {
	if drillBug == "double-return" {
		f.spare += k
		f.doubled += k
		f.account.Held += k // Withdraw takes it off
	}
}

// drillSpent changes what Spent reports: with early-stamp each use looks a fifth of
// a window older than it is. mu is held.
func (f *far) drillSpent(at core.Stamp, n int64) (core.Stamp, int64) {
	switch drillBug {
	case "double-return":
		hidden := min(f.doubled, n)
		f.doubled -= hidden
		n -= hidden
	case "early-stamp":
		l := f.Limit()
		at -= core.Stamp(int64(l.Window) / 5 / int64(l.Tick()))
	}
	return at, n
}
