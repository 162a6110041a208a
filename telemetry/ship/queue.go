package ship

import (
	"bytes"
	"sync"
)

// queue holds lines in memory, in chunks that end with a line.
//
// What take returned stays in it, in flight, until delivered, so that a failed
// delivery needs no putting back; steal takes from behind it.
type queue struct {
	limit int
	more  chan struct{} // wakes the sender

	mu     sync.Mutex
	chunks [][]byte // oldest first
	bytes  int
	flight []byte // what take returned; its chunks are not in chunks any more
}

// push copies lines; it reports false when there is no room.
func (q *queue) push(lines []byte) bool {
	q.mu.Lock()
	if q.bytes+len(lines) > q.limit {
		q.mu.Unlock()
		return false
	}
	q.bytes += len(lines)
	if n := len(q.chunks); n > 0 && len(q.chunks[n-1])+len(lines) <= cap(q.chunks[n-1]) {
		q.chunks[n-1] = append(q.chunks[n-1], lines...)
	} else {
		q.chunks = append(q.chunks, append(make([]byte, 0, max(len(lines), 128<<10)), lines...))
	}
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
	return true
}

func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// take returns the oldest lines, at most n bytes or one chunk; the same again until
// delivered is called.
func (q *queue) take(n int) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flight == nil {
		q.flight = q.cutLocked(n)
	}
	return q.flight
}

// flying reports whether something that was taken is not delivered yet.
func (q *queue) flying() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.flight != nil
}

// delivered forgets what take returned.
func (q *queue) delivered() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= len(q.flight)
	q.flight = nil
}

// back makes what is in flight the oldest lines again.
func (q *queue) back() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flight != nil {
		q.chunks = append([][]byte{q.flight}, q.chunks...)
		q.flight = nil
	}
}

// steal removes the oldest lines that are not in flight.
func (q *queue) steal(n int) []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := q.cutLocked(n)
	q.bytes -= len(lines)
	return lines
}

func (q *queue) cutLocked(n int) []byte {
	if len(q.chunks) == 0 {
		return nil
	}
	count, size := 0, 0
	for count < len(q.chunks) && (count == 0 || size+len(q.chunks[count]) <= n) {
		size += len(q.chunks[count])
		count++
	}
	lines := q.chunks[0]
	if count > 1 {
		lines = bytes.Join(q.chunks[:count], nil)
	}
	clear(q.chunks[:count])
	q.chunks = q.chunks[count:]
	return lines
}

func countLines(lines []byte) uint64 { return uint64(bytes.Count(lines, []byte{'\n'})) }
