package facts

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"
)

func seeds() [][]byte {
	c := newClock()
	s, _ := Open(Options{Node: 7, Now: c.now})
	s.Set("ban", "192.0.2.1", []byte("reason"), c.now().Add(time.Hour))
	s.Set("bypass", "acme", nil, time.Time{})
	s.Delete("ban", "192.0.2.2")
	s.Set("ban", "192.0.2.1", nil, c.now().Add(time.Minute))
	all := [][]byte{nil, {0}, bytes.Repeat([]byte{0xff}, 40)}
	var together []byte
	for _, e := range s.all() {
		all = append(all, e.Append(nil))
		together = e.Append(together)
	}
	return append(all, together)
}

func FuzzEntries(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseEntries(b)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			if len(e.Kind) == 0 || len(e.Kind) > MaxKindLen || len(e.Key) > MaxKeyLen || len(e.Value) > MaxValueLen {
				t.Fatalf("out of bounds: %+v", e)
			}
			again = e.Append(again)
		}
		// Varints may be written longer than they need be, so bytes may differ; what
		// they mean may not.
		second, err := ParseEntries(again)
		if err != nil || len(second) != len(entries) {
			t.Fatalf("what was written is not read back: %v", err)
		}
		c := newClock()
		for _, e := range entries {
			if e.end() <= c.now().UnixMilli() {
				return // order matters for those that are over
			}
		}
		one, _ := Open(Options{Now: c.now})
		two, _ := Open(Options{Now: c.now})
		one.Merge(entries)
		for i := range second {
			two.Merge(second[len(second)-1-i : len(second)-i])
		}
		if one.Root() != two.Root() && one.Stats().Refused["full"] == 0 {
			t.Fatal("merging in another order gives other facts")
		}
		one.Sweep()
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(new(Digest).Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDigest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Append(nil), b) {
			t.Fatal("not what was read")
		}
	})
}

func FuzzSnapshotFile(f *testing.F) {
	c := newClock()
	s, _ := Open(Options{Node: 7, Now: c.now})
	f.Add(s.Encode())
	s.Set("ban", "192.0.2.1", []byte("reason"), c.now().Add(time.Hour))
	f.Add(s.Encode())
	s.Delete("ban", "192.0.2.1")
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _ := Open(Options{Now: c.now})
		if r.Restore(b) != nil && len(b) > 4 {
			// The checksum keeps the fuzzer out: put it right.
			b = binary.LittleEndian.AppendUint32(bytes.Clone(b[:len(b)-4]), crc32.Checksum(b[:len(b)-4], castagnoli))
		}
		r, _ = Open(Options{Now: c.now})
		if err := r.Restore(b); err != nil {
			if len(r.all()) != 0 {
				t.Fatal("a refused file left something behind")
			}
			return
		}
		again, _ := Open(Options{Now: c.now})
		if err := again.Restore(r.Encode()); err != nil || again.Root() != r.Root() {
			t.Fatalf("what was written is not read back: %v", err)
		}
	})
}
