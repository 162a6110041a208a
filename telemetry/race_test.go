//go:build race

package telemetry

// raceEnabled leaves out what the race detector changes: allocation counts.
const raceEnabled = true
