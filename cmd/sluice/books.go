package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"sluice/cluster"
	"sluice/limiter"
)

// booksTopic carries operators' questions about a key to the node that keeps its
// books, and the answers.
const booksTopic = "books"

// Kinds of messages: kind, the question's number in 8 bytes, then the key in 16 or
// the answer as JSON.
const (
	booksQuestion = 1
	booksAnswer   = 2
	booksHead     = 9
	booksKey      = 16
)

// books asks other nodes for what they hold of a key, and answers them.
type books struct {
	limits *limiter.Limiter

	mu      sync.Mutex // guards what follows
	topic   *cluster.Topic
	next    uint64
	waiting map[uint64]chan limiter.Holdings
}

// attach makes n the member that questions go by; it must not run yet.
func (b *books) attach(n *cluster.Node) {
	t := n.Topic(booksTopic)
	t.Subscribe(func(from cluster.NodeID, payload []byte) { b.receive(t, from, payload) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topic = t
}

// ask asks the node with that number. ctx bounds the wait.
func (b *books) ask(ctx context.Context, node uint64, k limiter.Key) (limiter.Holdings, error) {
	answer := make(chan limiter.Holdings, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.waiting = make(map[uint64]chan limiter.Holdings)
	}
	b.next++
	number, topic := b.next, b.topic
	b.waiting[number] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting, number)
	}()
	nobody := limiter.Holdings{Authority: "home", Home: node}
	if topic == nil {
		return nobody, errNoMember
	}
	question := binary.BigEndian.AppendUint64([]byte{booksQuestion}, number)
	question = binary.BigEndian.AppendUint64(question, k[0])
	question = binary.BigEndian.AppendUint64(question, k[1])
	if err := topic.SendReliable(cluster.NodeID(node), question); err != nil {
		return nobody, err
	}
	select {
	case h := <-answer:
		return h, nil
	case <-ctx.Done():
		return nobody, ctx.Err()
	}
}

// receive takes a message; what is not understood is dropped.
func (b *books) receive(t *cluster.Topic, from cluster.NodeID, payload []byte) {
	if len(payload) < booksHead {
		return
	}
	number, rest := binary.BigEndian.Uint64(payload[1:booksHead]), payload[booksHead:]
	switch {
	case payload[0] == booksQuestion && len(rest) == booksKey:
		if text, err := b.answer(limiter.Key{binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])}); err == nil {
			_ = t.SendReliable(from, append(binary.BigEndian.AppendUint64([]byte{booksAnswer}, number), text...)) // else they wait in vain
		}
	case payload[0] == booksAnswer:
		var h limiter.Holdings
		if json.Unmarshal(rest, &h) != nil {
			return
		}
		b.mu.Lock()
		waiting := b.waiting[number]
		delete(b.waiting, number)
		b.mu.Unlock()
		if waiting != nil {
			waiting <- h // has room for one
		}
	}
}

// answer says what this node knows of a key.
func (b *books) answer(k limiter.Key) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	h, err := b.limits.Holdings(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("books: %w", err)
	}
	return json.Marshal(h)
}
