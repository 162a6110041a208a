//go:build race

package cluster

// sizes of clusters that must converge; 128 nodes take too long here.
var sizes = []int{3, 10, 30}
