// Package oracle judges what limiters have decided. It knows nothing of how: it
// merges the decisions of all nodes by the one clock of the machine and compares
// them with the definition of the limit.
//
//	decisions of all nodes ── by key ──┬─ most admissions in a trailing window ──▶ excess
//	                                   ├─ an exact sliding log, same requests ───▶ throughput
//	                                   └─ room at the time of each refusal ──────▶ needless refusals
//
// # What it claims
//
// A decision was taken at some moment between two readings of the clock, before and
// after. The oracle takes whichever moment speaks for the limiter: an admission is
// counted in a window only if it lies in it whole, and a refusal is needless only if
// the key had room throughout. So a busy machine, which may stop a process
// between deciding and writing it down, cannot make a limiter look guilty; and what
// is reported as excess did happen.
//
// The exact log decides about the requests in the order in which they came, admits
// whatever fits, and never errs: the most that a limiter can be asked for.
//
// # What it does not do
//
// It judges sliding windows, and keys whose limit does not change.
package oracle
