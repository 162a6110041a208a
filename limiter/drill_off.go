//go:build !drill

package limiter

import "sluice/limiter/core"

// drill says whether the process takes part in a drill: see drill.go. The shipped
// binary has none of it.
const drill = false

type drillFar struct{}

func drillNow() int64 { return 0 }

func (l *Limiter) drillRecord(Instant, int64, []Charge, *Decision) {}

func (drillFar) drillWithdraw(n int64) int64 { return n }

func (drillFar) drillWithdrawn(int64) {}

func (drillFar) drillSpent(at core.Stamp, n int64) (core.Stamp, int64) { return at, n }
