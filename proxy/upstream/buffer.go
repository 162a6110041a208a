package upstream

import "sync"

// buffer is a pooled piece of memory of one of a few sizes. Pools hold pointers
// to it, so that putting one back allocates nothing.
type buffer struct {
	b    []byte
	pool *sync.Pool
}

func newBufferPool(size int) *sync.Pool {
	p := new(sync.Pool)
	p.New = func() any { return &buffer{b: make([]byte, size), pool: p} }
	return p
}

// The sizes: a request head with a small body; a piece of a stream; a large
// body's piece on its way up, and on its way down, where handing on 100 KB took
// 15 % less CPU in pieces of 128 KB than of 64, and 256 gained nothing more.
const (
	size4K   = 4 << 10
	size16K  = 16 << 10
	size64K  = 64 << 10
	size128K = 128 << 10
)

var (
	pool4K   = newBufferPool(size4K)
	pool16K  = newBufferPool(size16K)
	pool64K  = newBufferPool(size64K)
	pool128K = newBufferPool(size128K)
)

// newBuffer returns a buffer of at least n bytes.
func newBuffer(n int) *buffer {
	switch {
	case n <= size4K:
		return pool4K.Get().(*buffer)
	case n <= size16K:
		return pool16K.Get().(*buffer)
	case n <= size64K:
		return pool64K.Get().(*buffer)
	case n <= size128K:
		return pool128K.Get().(*buffer)
	}
	return &buffer{b: make([]byte, n)}
}

func (b *buffer) release() {
	if b.pool != nil {
		b.pool.Put(b)
	}
}
