// Package shardmap is a map for many readers and rare changes: a change makes a
// new map that shares with the old one all but the shards that it touches, so
// that one change among 100,000 entries copies a few hundred of them.
package shardmap

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shards is how many there are: at 100,000 entries each has about 400.
const shards = 256

var seed = maphash.MakeSeed()

// Map is an immutable map, safe for concurrent use. The zero Map is empty.
type Map[V any] struct {
	parts *[shards]map[string]V // nil: empty
	size  int
}

func shard(key string) uint8 { return uint8(maphash.String(seed, key)) }

// Get returns the value of key.
func (m *Map[V]) Get(key string) (v V, ok bool) {
	if m.parts == nil {
		return v, false
	}
	v, ok = m.parts[shard(key)][key]
	return v, ok
}

// Len returns the number of keys.
func (m *Map[V]) Len() int { return m.size }

// All yields every key and value, in no order.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if m.parts == nil {
			return
		}
		for _, part := range m.parts {
			for k, v := range part {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// With returns a map with these values set, and without those keys in gone.
func (m *Map[V]) With(set map[string]V, gone ...string) Map[V] {
	var next [shards]map[string]V
	if m.parts != nil {
		next = *m.parts
	}
	size := m.size
	var own [shards]bool
	touch := func(key string) map[string]V {
		i := shard(key)
		if !own[i] {
			if own[i] = true; next[i] == nil {
				next[i] = make(map[string]V)
			} else {
				next[i] = maps.Clone(next[i])
			}
		}
		return next[i]
	}
	for key, v := range set {
		part := touch(key)
		if _, had := part[key]; !had {
			size++
		}
		part[key] = v
	}
	for _, key := range gone {
		if _, had := next[shard(key)][key]; had {
			delete(touch(key), key)
			size--
		}
	}
	return Map[V]{&next, size}
}
