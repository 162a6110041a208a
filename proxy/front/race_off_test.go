//go:build !race

package front

// raceEnabled: allocation budgets are not kept under the race detector, which drops pooled objects at random.
const raceEnabled = false
