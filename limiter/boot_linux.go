package limiter

import "golang.org/x/sys/unix"

// bootIsShared says that bootNS shows all processes of a machine the same.
const bootIsShared = true

// bootNS is the time since the machine started, suspensions included: a node that
// was asleep must find out that its rights are old.
func bootNS() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		panic("BUG: no CLOCK_BOOTTIME")
	}
	return t.Nano()
}
