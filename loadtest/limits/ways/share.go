package ways

import (
	"sync"
	"time"

	"sluice/internal/decisionlog"
	"sluice/loadtest/limits/oracle"
)

// share gives each of N nodes a limit of its own, 1/N of the whole.
type share struct {
	window time.Duration
	nodes  []shareNode
}

type shareNode struct {
	mu   sync.Mutex // guards logs
	logs map[uint64]*oracle.Log
}

// Share returns the way of giving each node 1/N of the limit.
func Share(nodes int, window time.Duration) *Way {
	s := &share{window: window, nodes: make([]shareNode, nodes)}
	for i := range s.nodes {
		s.forget(i)
	}
	return newWay("limit/N", nodes, window, s)
}

func (s *share) decide(node int, key uint64, limit int64) (admitted, asked bool) {
	n := &s.nodes[node]
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.logs[key]
	if l == nil {
		l = &oracle.Log{Limit: limit / int64(len(s.nodes)), WindowNS: int64(s.window)}
		n.logs[key] = l
	}
	return l.Admit(decisionlog.NowNS(), 1), false
}

func (s *share) forget(node int) {
	n := &s.nodes[node]
	n.mu.Lock()
	defer n.mu.Unlock()
	n.logs = map[uint64]*oracle.Log{}
}

func (s *share) cut(int)      {}
func (s *share) bytes() int64 { return 0 }
func (s *share) close()       {}
