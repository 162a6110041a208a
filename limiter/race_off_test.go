//go:build !race

package limiter

// raceEnabled skips budgets that the race detector's own allocations would break.
const raceEnabled = false
