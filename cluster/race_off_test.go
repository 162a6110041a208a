//go:build !race

package cluster

// sizes of clusters that must converge.
var sizes = []int{3, 10, 30, 128}
