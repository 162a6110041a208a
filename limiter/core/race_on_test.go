//go:build race

package core

// What the model explores: states of each exhaustive search, and random walks.
const (
	modelStates = 15_000
	modelWalks  = 100
)
