// Package inquiry asks every other member of the cluster a question and collects
// the answers.
//
//	Ask ── question ──► each member ── answer ──► Ask
//
// Questions and answers are bytes that the two sides agree on. Both go by stream;
// a member that has not answered when the context ends is named as missing, so
// that nobody takes a part for the whole.
//
// Invariants: an answer counts only for the member that was asked, and once;
// Ask returns when the context ends, whatever the members do; a member that
// leaves while it is asked is waited for no longer than that.
//
// An answer longer than [cluster.MaxMessage] less a few bytes does not arrive:
// the one who answers says less.
package inquiry

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"sluice/cluster"
)

// Asker asks, and answers, on one topic of one node. It has no goroutine of its
// own and is safe for concurrent use.
type Asker struct {
	node   *cluster.Node
	topic  *cluster.Topic
	answer func(question []byte) []byte

	mu      sync.Mutex
	last    uint64            // guarded by mu
	pending map[uint64]*asked // guarded by mu
}

// asked is a question that is under way.
type asked struct {
	waiting map[cluster.NodeID]string
	answers map[string][]byte
	done    chan struct{} // closed when nobody is waited for
}

// The first byte of a message; the number of the question follows.
const (
	question = 'q'
	reply    = 'a'
	head     = 9
)

// New makes an asker of the topic called name. It must be called before the
// node's Run. answer is called for one question at a time and should take
// milliseconds; nil is no answer.
func New(node *cluster.Node, name string, answer func(question []byte) []byte) *Asker {
	a := &Asker{node: node, topic: node.Topic(name), answer: answer, pending: map[uint64]*asked{}}
	a.topic.Subscribe(a.receive)
	return a
}

// Ask asks every member that is not dead, and returns their answers by the names
// of the nodes, and the names of those that did not answer, sorted.
func (a *Asker) Ask(ctx context.Context, text []byte) (answers map[string][]byte, missing []string) {
	q := &asked{waiting: map[cluster.NodeID]string{}, answers: map[string][]byte{}, done: make(chan struct{})}
	for _, m := range a.node.Members() {
		if !m.Self && (m.State == cluster.Alive || m.State == cluster.Suspect) {
			q.waiting[m.ID] = m.Name
		}
	}
	if len(q.waiting) == 0 {
		return q.answers, nil
	}
	members := make([]cluster.NodeID, 0, len(q.waiting))
	for id := range q.waiting {
		members = append(members, id)
	}
	a.mu.Lock()
	a.last++
	id := a.last
	a.pending[id] = q
	a.mu.Unlock()
	message := append(binary.BigEndian.AppendUint64([]byte{question}, id), text...)
	for _, to := range members {
		if err := a.topic.SendReliable(to, message); err != nil {
			continue // it will be missing
		}
	}
	select {
	case <-q.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, id)
	for _, name := range q.waiting {
		missing = append(missing, name)
	}
	slices.Sort(missing)
	return q.answers, missing
}

// receive takes a message of another member.
func (a *Asker) receive(from cluster.NodeID, payload []byte) {
	if len(payload) < head {
		return
	}
	id, text := binary.BigEndian.Uint64(payload[1:]), payload[head:]
	switch payload[0] {
	case question:
		if said := a.answer(text); said != nil {
			message := append(binary.BigEndian.AppendUint64([]byte{reply}, id), said...)
			_ = a.topic.SendReliable(from, message) // who asked will miss it
		}
	case reply:
		a.mu.Lock()
		defer a.mu.Unlock()
		q := a.pending[id]
		if q == nil {
			return // too late
		}
		name, waited := q.waiting[from]
		if !waited {
			return
		}
		delete(q.waiting, from)
		q.answers[name] = slices.Clone(text)
		if len(q.waiting) == 0 {
			close(q.done)
		}
	}
}
