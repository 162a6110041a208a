package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cluster/simnet"
)

func lan() simnet.Link {
	return simnet.Link{Delay: 300 * time.Microsecond, Jitter: 200 * time.Microsecond, Reorder: 0.01}
}

func TestClustersOfSeveralSizesConverge(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, uint64(size))
				defer s.stop()
				s.net.Shape(lan())
				for i := range size {
					s.add(i)
				}
				t.Logf("%d nodes see each other after %v", size, s.converged(20*time.Second))
			})
		})
	}
}

func TestFactsReachTenNodesWithinASecond(t *testing.T) {
	for _, loss := range []float64{0, 0.2} {
		t.Run(fmt.Sprintf("loss %.0f%%", loss*100), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 1)
				defer s.stop()
				l := lan()
				l.Loss = loss
				s.net.Shape(l)
				for i := range 10 {
					s.add(i)
				}
				s.converged(time.Minute)
				var took []time.Duration
				for i := range 200 {
					key := fmt.Sprint("k", i)
					from := s.nodes[i%len(s.nodes)]
					if err := from.Facts().Set("ban", key, []byte("x"), time.Now().Add(time.Hour)); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					eventually(t, 10*time.Second, "the fact is everywhere", func() bool {
						return !slices.ContainsFunc(s.nodes, func(n *simNode) bool { return get(n, "ban", key) != "x" })
					})
					took = append(took, time.Since(began))
					time.Sleep(37 * time.Millisecond)
				}
				slices.Sort(took)
				p50, p99, most := took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
				t.Logf("on all 10 nodes: p50 %v, p99 %v, max %v", p50, p99, most)
				if p99 >= time.Second {
					t.Errorf("p99 is %v", p99)
				}
			})
		})
	}
}
