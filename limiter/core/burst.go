package core

// Burst takes n requests at now from a bucket of the generic cell rate algorithm
// (ITU-T I.371, annex A) that would be full again at full. It returns the
// bucket's next full time, and how long to wait when it was refused (0: taken;
// the bucket is then unchanged).
//
// Times are in nanoseconds of one clock. interval is one request's share, and
// tolerance is the bucket's size × interval. 0 ≤ n·interval ≤ tolerance is the
// caller's promise; without it the request would never fit. In any stretch of
// time t it lets at most size + t/interval requests through.
func Burst(full, now, interval, tolerance, n int64) (next, wait int64) {
	next = max(full, now) + n*interval
	if over := next - now - tolerance; over > 0 {
		return full, over
	}
	return next, 0
}

// BurstLeft is how many requests the same bucket would take at now.
func BurstLeft(full, now, interval, tolerance int64) int64 {
	return max(0, tolerance-max(0, full-now)) / interval
}
