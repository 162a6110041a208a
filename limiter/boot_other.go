//go:build !linux

package limiter

// bootIsShared says that bootNS shows all processes of a machine the same.
const bootIsShared = false

// bootNS is the time since the process started. Suspensions may be missing.
func bootNS() int64 { return Now().MonoNS }
