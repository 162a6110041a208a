//go:build !linux

package limiter

// bootNS is the time since the process started. Suspensions may be missing.
func bootNS() int64 { return Now().MonoNS }
